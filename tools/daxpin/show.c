/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "command.h"
#include "names.h"
#include "show.h"

#define SHOW_COLUMNS	80		/* of a terminal that does not know */

/* A line of progress that is not ended. */
static int show_line_open;

void show_line(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	/* The rest of a longer line before this one is cleared. */
	fputs("\r\033[K", stderr);
	vfprintf(stderr, format, args);
	va_end(args);
	show_line_open = 1;
}

void show_end_line(void)
{
	if (show_line_open)
		fputc('\n', stderr);
	show_line_open = 0;
}

int show_fail(struct show *show, int json)
{
	struct json out = { .out = stdout };

	names_replace(show->command, show->path, show->errmsg, sizeof(show->errmsg));
	show_end_line();
	if (!json) {
		fprintf(stderr, "daxpin %s: %s\n", show->command, show->errmsg);
		return -1;
	}
	json_object(&out, NULL);
	json_string(&out, "path", show->path);
	json_object(&out, "error");
	json_string(&out, "errno", strerrorname_np(-show->error));
	json_string(&out, "message", show->errmsg);
	json_end_object(&out);
	json_end_object(&out);
	return -1;
}

static void show_ignore(const struct daxpin_leftover *leftover, void *arg)
{
	(void)leftover;
	(void)arg;
}

/*
 * A new owner that may not replace the page of a dead one, for example in /run/daxpin,
 * keeps none. Then the figures are not those of the pool.
 */
static int show_check_page(struct show *show)
{
	size_t length;

	if (show->about.alive != DAXPIN_NO ||
	    daxpin_leftovers(show->path, show->errmsg, sizeof(show->errmsg),
			     show_ignore, NULL, NULL) != -EBUSY)
		return 0;
	length = strlen(show->errmsg);
	snprintf(show->errmsg + length, sizeof(show->errmsg) - length,
		 "; its status page is still that of process %" PRIu32 ", which died: the new owner is opening the pool, so run this again, or it may not replace the page: then remove the file (`status` in the pool's directory, or that of the device in /run/daxpin), and open the pool again",
		 show->about.pid);
	return -EBUSY;
}

static int show_read_page(struct show *show)
{
	show->about.size = sizeof(show->about);
	show->info.size = sizeof(show->info);
	daxpin_status_info(show->status, &show->about);
	daxpin_status_pool(show->status, &show->info);
	show->error = show_check_page(show);
	if (!show->error)
		return 0;
	daxpin_status_close(show->status);
	show->status = NULL;
	return -1;
}

int show_open_with(struct show *show, const struct daxpin_pool_options *options)
{
	show->error = daxpin_pool_open(show->path, options, &show->pool);
	if (show->error)
		return -1;
	show->info.size = sizeof(show->info);
	return daxpin_pool_info(show->pool, &show->info);
}

static int show_read_pool(struct show *show)
{
	const struct daxpin_pool_options options = {
		.size = sizeof(options), .flags = DAXPIN_POOL_READONLY,
		.errmsg = show->errmsg, .errmsg_size = sizeof(show->errmsg),
	};

	return show_open_with(show, &options);
}

int show_open_pool(struct show *show, const char *command, const char *path, int json)
{
	*show = (struct show) { .path = path, .command = command };
	return show_read_pool(show) ? show_fail(show, json) : 0;
}

/* The page would have shown more: add why it did not. That there is none matters only
 * if a process has the pool open. */
static void show_add_page(struct show *show, int page_error, const char *errmsg)
{
	size_t length;

	if ((show->error != -EBUSY && page_error == -ENODATA) ||
	    !strcmp(show->errmsg, errmsg))
		return;
	length = strlen(show->errmsg);
	snprintf(show->errmsg + length, sizeof(show->errmsg) - length, "; %.500s",
		 errmsg);
}

int show_open(struct show *show, const char *command, const char *path, int json)
{
	char errmsg[sizeof(show->errmsg)];
	int page_error;

	*show = (struct show) { .path = path, .command = command };
	show->error = daxpin_status_open(path, show->errmsg, sizeof(show->errmsg),
					 &show->status);
	if (!show->error)
		return show_read_page(show) ? show_fail(show, json) : 0;
	if (show->error == -ENOENT || show->error == -ENODEV)
		return show_fail(show, json);
	page_error = show->error;
	memcpy(errmsg, show->errmsg, sizeof(errmsg));
	if (!show_read_pool(show))
		return 0;
	show_add_page(show, page_error, errmsg);
	return show_fail(show, json);
}

static const char *const show_owner[] = {
	[DAXPIN_OWNER_ALIVE] = "the process that has the pool open",
	[DAXPIN_OWNER_DRAINING] = "I/O of a dead owner",
	[DAXPIN_OWNER_UNKNOWN] = "the lock, whose holder is unknown",
	[DAXPIN_OWNER_RDMA] = "RDMA of a dead owner",
	[DAXPIN_OWNER_PINNED] = "pins of the files",
	[DAXPIN_OWNER_KEPT] = "a process that keeps the lock of a dead owner",
};

int show_progress(const struct daxpin_wait *wait, void *arg)
{
	(void)arg;
	if (wait->waited_ns < SHOW_PROGRESS_NS || !isatty(STDERR_FILENO))
		return 0;
	if (wait->owner == DAXPIN_OWNER_NONE && wait->total_bytes)
		show_line("%3u %% allocated ",
			  (unsigned int)(wait->done_bytes * 100 / wait->total_bytes));
	else if (wait->owner < DAXPIN_OWNER_NONE && wait->owner && wait->pid)
		show_line("waiting for %s (process %d) ",
			  show_owner[wait->owner], wait->pid);
	else if (wait->owner <= DAXPIN_OWNER_KEPT && wait->owner)
		show_line("waiting for %s ", show_owner[wait->owner]);
	return 0;
}

void show_close(struct show *show)
{
	daxpin_status_close(show->status);
	daxpin_pool_close(show->pool);
}

int show_columns(void)
{
	struct winsize size = { 0 };

	if (!isatty(STDOUT_FILENO))
		return 0;
	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	return size.ws_col ? size.ws_col : SHOW_COLUMNS;
}

const char *show_colour(enum show_colour colour)
{
	static const char *const escape[] = {
		[SHOW_PLAIN] = "\033[m", [SHOW_RED] = "\033[31m",
		[SHOW_GREEN] = "\033[32m", [SHOW_YELLOW] = "\033[33m",
		[SHOW_BLUE] = "\033[34m",
	};
	const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");

	if (!isatty(STDOUT_FILENO) || (no_colour && *no_colour) || !terminal ||
	    !strcmp(terminal, "dumb"))
		return "";
	return escape[colour];
}

static void show_first(const char *text, size_t length)
{
	for (const char *end = text + length; text < end;) {
		int bytes = json_character(text);

		if (!bytes || (unsigned char)*text < ' ' || *text == 0x7f) {
			putchar('?');
			text++;
		} else {
			fwrite(text, 1, bytes, stdout);
			text += bytes;
		}
	}
}

void show_foreign(const char *text)
{
	show_first(text, strlen(text));
}

void show_wrapped(int indent, const char *sentence)
{
	int width = show_columns() - indent, length, room;

	/* A narrow terminal wraps by itself. */
	if (width < SHOW_COLUMNS / 4)
		width = INT_MAX;
	for (room = width; *sentence; sentence += length) {
		length = (int)strcspn(sentence + 1, " ") + 1;
		if (length > room && room < width) {
			printf("\n%*s", indent, "");
			sentence += *sentence == ' ';
			room = width;
			length = (int)strcspn(sentence, " ");
		}
		show_first(sentence, length);
		room -= length < room ? length : room;
	}
	putchar('\n');
}

const char *show_source(uint32_t source)
{
	static const char *const name[] = {
		[0] = "unknown",
		[DAXPIN_SOURCE_DEVDAX] = "device-dax",
		[DAXPIN_SOURCE_FSDAX] = "DAX filesystem",
		[DAXPIN_SOURCE_SHMEM] = "shmem",
		[DAXPIN_SOURCE_DISK] = "disk",
	};

	return name[source <= DAXPIN_SOURCE_DISK ? source : 0];
}

const char *show_bytes(uint64_t bytes, char text[SHOW_TEXT])
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	unsigned int i = 0;
	uint64_t scale = 1;

	while (i < 4 && bytes / scale >= 1024) {
		scale *= 1024;
		i++;
	}
	if (bytes % scale)
		snprintf(text, SHOW_TEXT, "%.1f %s", (double)bytes / (double)scale,
			 unit[i]);
	else
		snprintf(text, SHOW_TEXT, "%" PRIu64 " %s", bytes / scale, unit[i]);
	return text;
}

const char *show_time(uint64_t ns, char text[SHOW_TEXT])
{
	uint64_t seconds = ns / 1000000000;

	if (ns == UINT64_MAX)
		snprintf(text, SHOW_TEXT, "unknown");
	else if (seconds < 60)
		snprintf(text, SHOW_TEXT, "%.1f s", (double)ns / 1e9);
	else if (seconds < 2 * 3600)
		snprintf(text, SHOW_TEXT, "%" PRIu64 " min", seconds / 60);
	else if (seconds < 48 * 3600)
		snprintf(text, SHOW_TEXT, "%" PRIu64 " h", seconds / 3600);
	else
		snprintf(text, SHOW_TEXT, "%" PRIu64 " days", seconds / 86400);
	return text;
}

const char *show_state(const struct show *show)
{
	if (!show->status)
		return "closed";
	return show->about.alive == DAXPIN_YES ? "open" :
	       show->about.alive == DAXPIN_NO ? "dead" : "unknown";
}

void show_origin(const struct show *show)
{
	char open[SHOW_TEXT], age[SHOW_TEXT];
	const struct daxpin_status_info *about = &show->about;
	uint64_t open_ns = about->open_ns;

	if (!show->status) {
		printf("%s: not open for writing\n", show->path);
		return;
	}
	/* A dead owner had it open at least until it wrote this. */
	if (about->alive == DAXPIN_YES && about->age_ns != UINT64_MAX)
		open_ns += about->age_ns;
	printf("%s: %s process %u%s\n",
	       show->path, about->alive == DAXPIN_NO ? "was open in" : "open in",
	       about->pid, about->alive == DAXPIN_YES ? "" :
	       about->alive == DAXPIN_NO ? ", which has died" :
	       ", which may have died");
	printf("open for %s; these figures are %s%s\n", show_time(open_ns, open),
	       about->age_ns == UINT64_MAX ? "of an earlier boot" :
	       show_time(about->age_ns, age),
	       about->age_ns == UINT64_MAX ? "" : " old");
	if (about->alive == DAXPIN_UNKNOWN)
		show_wrapped(0, "whether it lives is unknown here: it is in another pid namespace, or /proc hides it (hidepid); run this in that namespace, or as root");
}

void show_json_origin(const struct show *show, struct json *json)
{
	json_string(json, "path", show->path);
	json_string(json, "state", show_state(show));
	if (!show->status)
		return;
	json_number(json, "pid", show->about.pid);
	json_number(json, "age_ns", show->about.age_ns);
	json_number(json, "open_ns", show->about.open_ns);
}
