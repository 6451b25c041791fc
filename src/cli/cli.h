/* The command line: one file for each subcommand. Each returns the exit code: 0 done, 1 the operation failed, 2 wrong usage or configuration. */
#pragma once

int cli_main(int argc, char **argv);
/* publisher.c: the process that copies and publishes for one admin write. */
int publisher_main(int argc, char **argv);

/* argv[0] is the subcommand's name. */
int cmd_serve(int argc, char **argv);
int cmd_query(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_key(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_rollback(int argc, char **argv);
int cmd_recover(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
