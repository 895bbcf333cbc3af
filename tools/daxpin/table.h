/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of a command as a table: it is parsed, printed as help, and turned into
 * the completion of bash. */
#ifndef TABLE_H
#define TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_kind {
	OPTION_FLAG,			/* int */
	OPTION_TEXT,			/* const char * */
	OPTION_BYTES,			/* uint64_t; K, M, G and T are powers of 1024 */
	OPTION_SECONDS,			/* uint64_t */
	OPTION_NUMBER,			/* uint64_t */
	OPTION_MODE,			/* uint32_t, octal */
};

struct tool_option {
	const char *name;		/* without the dashes; NULL ends the table */
	const char *value;		/* its name in the help; NULL for a flag */
	enum option_kind kind;
	size_t offset;			/* in the struct of values */
	const char *help;
};

struct command;

/*
 * Parse argv into *values, which is zeroed. The words that are no options are moved to
 * argv[1] and so on. Returns their number. -1: a message was printed.
 */
int table_parse(const struct command *command, int argc, char **argv, void *values);
/* Parse a word that is a size, as an option of OPTION_BYTES is. -1: a message was
 * printed. */
int table_parse_bytes(const struct command *command, const char *text,
		      uint64_t *ret_bytes);
/* Print why the word cannot be, and the help. Returns -1. */
int table_refuse(const struct command *command, const char *word, const char *errmsg);
void table_help(const struct command *command, FILE *out);

#endif
