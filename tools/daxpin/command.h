/* SPDX-License-Identifier: BSD-3-Clause */
/* The sub-commands of daxpin. */
#ifndef COMMAND_H
#define COMMAND_H

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
	/* argv[0] is the name; returns an exit status. */
	int (*run)(int argc, char **argv);
};

extern const struct command adopt_command;
extern const struct command check_command;
extern const struct command doctor_command;

#endif
