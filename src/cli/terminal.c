/* The terminal. Runs in the command line. */
#include "cli/terminal.h"
#include "core/errors.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#define ENTER "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J"
#define LEAVE "\x1b[?25h\x1b[?1049l"
#define ESCAPE_WAIT_MS 30 /* the rest of a cursor key's sequence comes at once; Escape by itself has none */

/* The process's one terminal. */
static struct {
    bool open;
    struct termios before;
    sigset_t mask_before;
    int signal_fd;
} terminal = {.signal_fd = -1};

static void put(const char *text) { (void)!write(STDOUT_FILENO, text, strlen(text)); }

bool terminal_open(void)
{
    struct termios raw;
    sigset_t mask;
    if (tcgetattr(STDIN_FILENO, &terminal.before) < 0)
        return false;
    sigemptyset(&mask);
    static const int signals[] = {SIGTERM, SIGHUP, SIGINT, SIGWINCH};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaddset(&mask, signals[i]);
    sigprocmask(SIG_BLOCK, &mask, &terminal.mask_before);
    terminal.signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    raw = terminal.before;
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST;
    if (terminal.signal_fd < 0 || tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
        return false;
    terminal.open = true;
    put(ENTER);
    return true;
}

void terminal_close(void)
{
    if (!terminal.open)
        return;
    terminal.open = false;
    put(LEAVE);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal.before);
    close(terminal.signal_fd);
    sigprocmask(SIG_SETMASK, &terminal.mask_before, NULL);
}

void terminal_size(unsigned *ret_rows, unsigned *ret_columns)
{
    struct winsize w;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row > 0 && w.ws_col > 0;
    *ret_rows = known ? w.ws_row : 24;
    *ret_columns = known ? w.ws_col : 80;
}

static int next_byte(int timeout_ms)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    unsigned char c;
    if (poll(&p, 1, timeout_ms) != 1)
        return -1;
    return read(STDIN_FILENO, &c, 1) == 1 ? c : -1;
}

/* What follows an Escape: a cursor key, or something that means nothing here. */
static struct terminal_event escape(void)
{
    int c = next_byte(ESCAPE_WAIT_MS);
    if (c != '[' && c != 'O')
        return (struct terminal_event){.key = KEY_TEXT, .text = '\x1b'};
    do
        c = next_byte(ESCAPE_WAIT_MS);
    while (c == ';' || (c >= '0' && c <= '9'));
    return (struct terminal_event){.key = c == 'A' ? KEY_UP : c == 'B' ? KEY_DOWN : KEY_NONE};
}

static struct terminal_event read_key(void)
{
    unsigned char c;
    ssize_t n = read(STDIN_FILENO, &c, 1);
    if (n <= 0)
        return (struct terminal_event){.key = n < 0 && (errno == EAGAIN || errno == EINTR) ? KEY_NONE : KEY_END};
    switch (c) {
    case 0x1b: return escape();
    case 'q':
    case 0x03: return (struct terminal_event){.key = KEY_QUIT};
    case 'k': return (struct terminal_event){.key = KEY_UP};
    case 'j': return (struct terminal_event){.key = KEY_DOWN};
    case 0x0c: return (struct terminal_event){.key = KEY_REDRAW}; /* Ctrl-L */
    default: return (struct terminal_event){.key = KEY_TEXT, .text = (char)c};
    }
}

struct terminal_event terminal_wait(int timeout_ms)
{
    struct pollfd p[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = terminal.signal_fd, .events = POLLIN}};
    struct signalfd_siginfo info;
    if (poll(p, 2, timeout_ms) <= 0)
        return (struct terminal_event){.key = KEY_NONE};
    if (p[1].revents && read(terminal.signal_fd, &info, sizeof info) == sizeof info)
        return (struct terminal_event){.key = info.ssi_signo == SIGWINCH ? KEY_REDRAW : info.ssi_signo == SIGINT ? KEY_QUIT : KEY_END};
    return p[0].revents ? read_key() : (struct terminal_event){.key = KEY_NONE};
}
