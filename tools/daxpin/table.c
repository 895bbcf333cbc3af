/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "table.h"

#define TABLE_NO_SIZE	"not a size, such as 4096, 512M or 64G"

static int table_number(const char *text, int base, char **ret_end,
			uint64_t *ret_number)
{
	errno = 0;
	*ret_number = strtoull(text, ret_end, base);
	return *text >= '0' && *text <= '9' && !errno;
}

static int table_bytes(const char *text, uint64_t *ret_bytes)
{
	static const char units[] = "KMGT";
	unsigned int shift = 0;
	const char *unit;
	char *end;

	if (!table_number(text, 10, &end, ret_bytes))
		return 0;
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		shift = 10 * (unsigned int)(unit - units + 1);
		end++;
	}
	if (*end || *ret_bytes > UINT64_MAX >> shift)
		return 0;
	*ret_bytes <<= shift;
	return 1;
}

static int table_store(const struct tool_option *option, const char *text, void *values)
{
	void *at = (char *)values + option->offset;
	uint64_t number;
	char *end;

	switch (option->kind) {
	case OPTION_FLAG:
		*(int *)at = 1;
		return 1;
	case OPTION_TEXT:
		*(const char **)at = text;
		return 1;
	case OPTION_BYTES:
		return table_bytes(text, at);
	case OPTION_SECONDS:
	case OPTION_NUMBER:
		return table_number(text, 10, &end, at) && !*end;
	default:
		if (!table_number(text, 8, &end, &number) || *end || number > 07777)
			return 0;
		*(uint32_t *)at = (uint32_t)number;
		return 1;
	}
}

static const struct tool_option *table_find(const struct command *command,
					    const char *name, size_t length)
{
	const struct tool_option *option = command->options;

	for (; option->name; option++)
		if (strlen(option->name) == length &&
		    !strncmp(option->name, name, length))
			return option;
	return NULL;
}

int table_refuse(const struct command *command, const char *word, const char *errmsg)
{
	fprintf(stderr, "daxpin %s: %s: %s\n", command->name, word, errmsg);
	table_help(command, stderr);
	return -1;
}

int table_parse_bytes(const struct command *command, const char *text,
		      uint64_t *ret_bytes)
{
	return table_bytes(text, ret_bytes) ? 0 :
	       table_refuse(command, text, TABLE_NO_SIZE);
}

/* Returns how many words the option takes. */
static int table_take(const struct command *command, char **at, void *values)
{
	const char *name = at[0] + 2, *equals = strchr(name, '=');
	size_t length = equals ? (size_t)(equals - name) : strlen(name);
	const struct tool_option *option = table_find(command, name, length);
	const char *text = equals ? equals + 1 : option && option->value ? at[1] : NULL;

	if (!option)
		return table_refuse(command, at[0], "there is no such option");
	if (!option->value && equals)
		return table_refuse(command, at[0], "this option has no value");
	if (option->value && !text)
		return table_refuse(command, at[0], "the value is missing");
	if (!table_store(option, text, values))
		return table_refuse(command, text, option->kind == OPTION_BYTES ?
				  TABLE_NO_SIZE :
				  "not a number that this option takes");
	return option->value && !equals ? 2 : 1;
}

int table_parse(const struct command *command, int argc, char **argv, void *values)
{
	int words = 0, only_words = 0, taken;

	for (int i = 1; i < argc; i += taken) {
		taken = 1;
		if (!only_words && !strcmp(argv[i], "--")) {
			only_words = 1;
		} else if (!only_words && !strncmp(argv[i], "--", 2)) {
			taken = table_take(command, &argv[i], values);
			if (taken < 0)
				return -1;
		} else {
			argv[++words] = argv[i];
		}
	}
	if (words < command->words_min || words > command->words_max)
		return table_refuse(command, command->words,
				  words ? "another number of words was given" :
					  "it is missing");
	return words;
}

void table_help(const struct command *command, FILE *out)
{
	const struct tool_option *option = command->options;
	char left[40];

	fprintf(out, "usage: daxpin %s [OPTION...] %s\n\n%s\n\n", command->name,
		command->words, command->help);
	for (; option->name; option++) {
		snprintf(left, sizeof(left), "--%s%s%s", option->name,
			 option->value ? " " : "", option->value ? option->value : "");
		fprintf(out, "  %-22s  %s\n", left, option->help);
	}
	fprintf(out, "\n%s\n", command->exits ? command->exits :
		"Exits with 0 if this was done, and with 2 otherwise.");
}
