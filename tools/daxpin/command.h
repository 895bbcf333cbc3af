/* SPDX-License-Identifier: BSD-3-Clause */
/* The sub-commands of daxpin. */
#ifndef COMMAND_H
#define COMMAND_H

#include "table.h"

/* The exit statuses of every sub-command. */
enum exit_status {
	EXIT_CLEAN = 0,
	EXIT_DAMAGED = 1,		/* doctor: something does not work */
	EXIT_UNKNOWN = 2,		/* also for invalid arguments */
};

struct command {
	const char *name;
	const char *summary;		/* a line of `daxpin --help` */
	const char *help;
	const char *exits;		/* the help's last line; NULL: the usual one */
	const struct tool_option *options;
	const char *words;		/* the words after the options, and how many */
	int words_min, words_max;
	int changes;			/* it can change a pool */
	/* argv[0] is the name; returns an exit status. */
	int (*run)(int argc, char **argv);
};

extern const struct command adopt_command;
extern const struct command bench_command;
extern const struct command check_command;
extern const struct command create_command;
extern const struct command doctor_command;
extern const struct command grow_command;
extern const struct command holds_command;
extern const struct command info_command;
extern const struct command list_command;
extern const struct command map_command;
extern const struct command metrics_command;
extern const struct command remove_command;
extern const struct command repair_command;
extern const struct command shrink_command;

#endif
