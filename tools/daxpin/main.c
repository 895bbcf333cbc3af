/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin COMMAND ...: create, look at, check and repair pools. See daxpin(1). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <daxpin.h>
#include "command.h"
#include "show.h"

static const struct command *const commands[] = {
	&adopt_command,
	&bench_command,
	&check_command,
	&create_command,
	&doctor_command,
	&grow_command,
	&holds_command,
	&info_command,
	&list_command,
	&map_command,
	&metrics_command,
	&remove_command,
	&repair_command,
	&shrink_command,
};

#define COMMANDS	(sizeof(commands) / sizeof(commands[0]))

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

static void help(FILE *out)
{
	fprintf(out, "usage: daxpin COMMAND [OPTION...] [PATH]\n\n");
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-8s  %s\n", commands[i]->name,
			commands[i]->summary);
	fprintf(out, "\n`daxpin COMMAND --help` lists the options of a command; daxpin(1) is the manual.\n");
}

static int wants_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h") ||
	       !strcmp(word, "help");
}

/* A completion for bash, from the same tables as the help. */
static void completion(void)
{
	fputs("_daxpin()\n{\n\tlocal word=${COMP_WORDS[COMP_CWORD]} words=\n"
	      "\tcase $COMP_CWORD:${COMP_WORDS[1]} in\n\t1:*) words='", stdout);
	for (size_t i = 0; i < COMMANDS; i++)
		printf("%s%s", i ? " " : "", commands[i]->name);
	fputs("' ;;\n", stdout);
	for (size_t i = 0; i < COMMANDS; i++) {
		const struct tool_option *option = commands[i]->options;

		printf("\t*:%s) words='--help", commands[i]->name);
		for (; option->name; option++)
			printf(" --%s", option->name);
		fputs("' ;;\n", stdout);
	}
	fputs("\tesac\n\tif [[ $word == -* || $COMP_CWORD == 1 ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n\telse\n"
	      "\t\tCOMPREPLY=($(compgen -f -- \"$word\"))\n\tfi\n}\n"
	      "complete -o filenames -F _daxpin daxpin\n", stdout);
}

/*
 * A file that is opened gets the lowest number that is free. If standard output was
 * closed, that file could be a segment, and what is printed would be written into it.
 * What is open instead refuses each write, so that the loss is noticed.
 */
static int occupy_standard_files(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDERR_FILENO ?
						   O_WRONLY : O_RDONLY) != fd)
			return -1;
	return 0;
}

/* What was printed must have been written, otherwise the command has failed. */
static int end(const char *name, int status)
{
	int failed = ferror(stdout);	/* earlier, and errno may be of another call */

	show_end_line();
	if (!fflush(stdout) && !failed)
		return status;
	fprintf(stderr, "daxpin %s: the output could not be written%s%s\n", name,
		failed ? "" : ": ", failed ? "" : strerror(errno));
	return EXIT_UNKNOWN;
}

/* --help, --version and --completion. Returns 0: the word is none of these. */
static int answer(const char *word)
{
	if (wants_help(word))
		help(stdout);
	else if (!strcmp(word, "--version"))
		printf("daxpin %s\n", daxpin_version());
	else if (!strcmp(word, "--completion"))
		completion();
	else
		return 0;
	return 1;
}

static int run(const struct command *command, int argc, char **argv)
{
	if (argc > 1 && wants_help(argv[1])) {
		table_help(command, stdout);
		return EXIT_CLEAN;
	}
	/* A reader of the output that ends early must not end a change. */
	if (command->changes)
		signal(SIGPIPE, SIG_IGN);
	return command->run(argc, argv);
}

int main(int argc, char **argv)
{
	const struct command *command;

	if (occupy_standard_files())
		return EXIT_UNKNOWN;
	if (argc < 2) {
		help(stderr);
		return EXIT_UNKNOWN;
	}
	if (answer(argv[1]))
		return end(argv[1], EXIT_CLEAN);
	command = find(argv[1]);
	if (!command) {
		fprintf(stderr, "daxpin: there is no command %s\n", argv[1]);
		help(stderr);
		return EXIT_UNKNOWN;
	}
	return end(command->name, run(command, argc - 1, argv + 1));
}
