/* SPDX-License-Identifier: BSD-3-Clause */
/* Collects what calls write to the log callback of their options. */
#ifndef LOGGED_H
#define LOGGED_H

#include "fixture.h"

static struct {
	char line[8][600];
	int lines;
} logged;

static inline void note_line(const char *message, void *arg)
{
	assert_ptr_equal(arg, &logged);
	assert_true(logged.lines < 8);
	snprintf(logged.line[logged.lines++], sizeof(logged.line[0]), "%s",
		 message);
}

/* Collects from now on. */
static inline void log_lines(struct fixture *f)
{
	memset(&logged, 0, sizeof(logged));
	f->options.log = note_line;
	f->options.log_arg = &logged;
}

static inline int count_logged(const char *words)
{
	int count = 0;

	for (int i = 0; i < logged.lines; i++)
		count += strstr(logged.line[i], words) != NULL;
	return count;
}

/* Asserts that a line which begins with the pool's path contains the words. */
static inline void assert_logged(struct fixture *f, const char *words)
{
	for (int i = 0; i < logged.lines; i++)
		if (strstr(logged.line[i], words)) {
			assert_memory_equal(logged.line[i], f->path,
					    strlen(f->path));
			return;
		}
	fail_msg("\"%s\" is not in the %d lines of the log: %s", words,
		 logged.lines, logged.line[0]);
}

#endif
