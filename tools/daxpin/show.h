/* SPDX-License-Identifier: BSD-3-Clause */
/* What a pool looks like from outside: its status page if a process has it open or died
 * with it, otherwise the pool itself, opened for reading for a moment. */
#ifndef SHOW_H
#define SHOW_H

#include <stdint.h>
#include <daxpin-status.h>
#include "json.h"

#define SHOW_TEXT	32
#define SHOW_ERRMSG	1024		/* of a sentence with its NUL */

struct show {
	const char *path;
	const char *command;
	struct daxpin_status *status;	/* or NULL */
	struct daxpin_pool *pool;	/* open for reading, or NULL */
	struct daxpin_status_info about;	/* with status */
	struct daxpin_pool_info info;
	int error;
	char errmsg[SHOW_ERRMSG];
};

/* 0, or -1 after a message on stderr or, with json, an object with the error. */
int show_open(struct show *show, const char *command, const char *path, int json);
/* The same without a look at the status page, for what only the pool has. */
int show_open_pool(struct show *show, const char *command, const char *path, int json);
/* The same with options, whose errmsg must be the one of `show`. Returns 0, or an error
 * of which nothing is printed yet. */
int show_open_with(struct show *show, const struct daxpin_pool_options *options);
/* A progress(): a line on stderr about what a call waits for, on a terminal only, and
 * after SHOW_PROGRESS_NS. */
#define SHOW_PROGRESS_NS	UINT64_C(1000000000)
int show_progress(const struct daxpin_wait *wait, void *arg);
/* Print that line in place of the one before. show_fail() and show_end_line() end it.
 */
void show_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void show_end_line(void);
void show_close(struct show *show);
/* Report an error in the same form. Returns -1. */
int show_fail(struct show *show, int json);

/* Columns of the terminal that stdout is; 0 if it is none. */
int show_columns(void);
enum show_colour { SHOW_PLAIN, SHOW_RED, SHOW_GREEN, SHOW_YELLOW, SHOW_BLUE };
/* What changes the colour of stdout; "" unless stdout is a terminal, and if NO_COLOR is
 * set or TERM is "dumb". */
const char *show_colour(enum show_colour colour);
/* Print a sentence and a line break. On a terminal it is wrapped between words, and its
 * further lines begin at column `indent`, where the first one does. */
void show_wrapped(int indent, const char *sentence);

/* Print a text that others have chosen: each byte that is a control character, or not
 * part of one in UTF-8, as ?. */
void show_foreign(const char *text);

const char *show_source(uint32_t source);
const char *show_bytes(uint64_t bytes, char text[SHOW_TEXT]);
const char *show_time(uint64_t ns, char text[SHOW_TEXT]);
/* "closed", "open" or "dead"; "unknown": the owner is in another pid namespace. */
const char *show_state(const struct show *show);
/* One or two lines for people about whose figures these are. */
void show_origin(const struct show *show);
/* The keys state, pid, age_ns and open_ns. */
void show_json_origin(const struct show *show, struct json *json);

#endif
