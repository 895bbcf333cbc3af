/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin COMMAND ...: create, look at, check and repair pools. See daxpin(1). */
#include <stdio.h>
#include <string.h>
#include <daxpin.h>
#include "command.h"

static const struct command *const commands[] = {
	&adopt_command,
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

int main(int argc, char **argv)
{
	const struct command *command;

	if (argc < 2) {
		help(stderr);
		return EXIT_UNKNOWN;
	}
	if (wants_help(argv[1])) {
		help(stdout);
		return EXIT_CLEAN;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("daxpin %s\n", daxpin_version());
		return EXIT_CLEAN;
	}
	if (!strcmp(argv[1], "--completion")) {
		completion();
		return EXIT_CLEAN;
	}
	command = find(argv[1]);
	if (!command) {
		fprintf(stderr, "daxpin: there is no command %s\n", argv[1]);
		help(stderr);
		return EXIT_UNKNOWN;
	}
	if (argc > 2 && wants_help(argv[2])) {
		table_help(command, stdout);
		return EXIT_CLEAN;
	}
	return command->run(argc - 1, argv + 1);
}
