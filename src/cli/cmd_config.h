/* `bulkhead config`: every key. Runs in the command line. */
#pragma once

/* argv[0] is "config". Prints every key by section: type, default, unit, range, when a change takes effect,
 * help. Exit code: 0, 1 when stdout can't be written, 2 for wrong usage. */
int cmd_config(int argc, char **argv);
