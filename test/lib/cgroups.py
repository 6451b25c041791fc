"""Control groups as the kernel shows them, version 1 or 2."""

from pathlib import Path


def _mounts():
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            yield Path(where), kind, options.split(",")


def mount_of(controller):
    """Where groups of that controller are: version 1's own tree, or version 2 where it has the controller. None: nowhere."""
    for where, kind, options in _mounts():
        if kind == "cgroup" and controller in options:
            return where
    for where, kind, _ in _mounts():
        if kind == "cgroup2" and controller in (where / "cgroup.controllers").read_text().split():
            return where
    return None


def group_of(pid, controller):
    """The directory of a process's group; None without that controller."""
    where = mount_of(controller)
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if where and (controller in controllers.split(",") or (not controllers and (where / "cgroup.controllers").exists())):
            return where / path.lstrip("/")
    return None


def read(group, *names):
    """The first of these files that there is."""
    for name in names:
        if (group / name).exists():
            return (group / name).read_text().strip()
    raise FileNotFoundError(f"{group}: {names}")


def of_server(group, pid):
    """A server's own groups below (or beside) its group: directories bulkhead-PID-*."""
    return [p for place in (group, group.parent) if place.exists() for p in place.glob(f"bulkhead-{pid}-*")]
