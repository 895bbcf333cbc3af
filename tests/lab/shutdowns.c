/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shutdowns NAME=PATH:VERDICT...: what pools report of dirty shutdowns on NVDIMMs that
 * count them, which the kernel shows as nfit/dirty_shutdown. For tests/lab/shutdowns.
 *
 * VERDICT: `new` creates the pool, the others open it. `no`: an open with
 * DAXPIN_POOL_NEED_FLUSHED succeeds. `yes`, `reset` and `unseen`: such an open is
 * refused with the sentence for that verdict, and an ordinary open succeeds. `closed`
 * is a `yes` that ends with a close, after which an open reports `no`. At the end the
 * program prints `ready` and keeps the pools open until the power is cut.
 */
#include <daxpin.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct verdict {
	const char *name;
	enum daxpin_tristate dirty;
	int refused;
	const char *words;
} verdicts[] = {
	{ "new", DAXPIN_NO, 0, NULL },
	{ "no", DAXPIN_NO, 0, NULL },
	{ "yes", DAXPIN_YES, -EUCLEAN, "power has failed before all" },
	{ "closed", DAXPIN_YES, -EUCLEAN, "power has failed before all" },
	{ "reset", DAXPIN_UNKNOWN, -EUCLEAN, "was reset since it was opened" },
	{ "unseen", DAXPIN_UNKNOWN, -EOPNOTSUPP, "because sysfs does not show" },
};

__attribute__((noreturn, format(printf, 1, 2)))
static void die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fprintf(stderr, "shutdowns: ");
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static void note(const char *message, void *arg)
{
	(void)arg;
	fprintf(stderr, "# %s\n", message);
}

static struct daxpin_pool *open_pool(const char *path, uint32_t flags,
				     bool create, int *ret_error, char *sentence,
				     size_t size)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options),
		.flags = flags,
		.pool_size = create && strncmp(path, "/dev/", 5) ? 64 << 20 : 0,
		.deadline_ns = daxpin_deadline_ms(300000),
		.errmsg = sentence,
		.errmsg_size = size,
		.log = note,
	};
	struct daxpin_pool *pool = NULL;

	*ret_error = create ? daxpin_pool_create(path, &options, &pool) :
			      daxpin_pool_open(path, &options, &pool);
	return pool;
}

static const struct verdict *verdict_of(const char *name)
{
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++)
		if (!strcmp(verdicts[i].name, name))
			return &verdicts[i];
	die("no verdict is called %s", name);
}

/* An open that requires that all data were flushed must be refused. */
static void check_refused(const char *path, const struct verdict *verdict)
{
	char sentence[800] = "";
	int ret;

	if (open_pool(path, DAXPIN_POOL_NEED_FLUSHED, false, &ret, sentence,
		      sizeof(sentence)))
		die("%s was opened, but its verdict must be %s", path, verdict->name);
	fprintf(stderr, "# %s\n", sentence);
	if (ret != verdict->refused || !strstr(sentence, verdict->words))
		die("the verdict on %s must be %s, but the open failed with %d: %s", path,
		    verdict->name, ret, sentence);
}

static struct daxpin_pool *check(const char *path, const struct verdict *verdict)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	bool create = !strcmp(verdict->name, "new");
	struct daxpin_pool *pool;
	char sentence[800] = "";
	int ret;

	if (verdict->refused)
		check_refused(path, verdict);
	pool = open_pool(path, verdict->refused ? 0 : DAXPIN_POOL_NEED_FLUSHED,
			 create, &ret, sentence, sizeof(sentence));
	if (ret)
		die("%s: %d: %s", path, ret, sentence);
	if (daxpin_pool_info(pool, &info) || info.dirty_shutdown != verdict->dirty)
		die("the verdict on %s must be %s, but dirty_shutdown is %u", path, verdict->name,
		    info.dirty_shutdown);
	return pool;
}

/* A clean close records the present count, so that the next open reports no loss. */
static struct daxpin_pool *check_closed(const char *path, struct daxpin_pool *pool)
{
	if (daxpin_pool_close(pool))
		die("%s is not closed", path);
	return check(path, verdict_of("no"));
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *path = strchr(argv[i], '='), *word = strrchr(argv[i], ':');
		struct daxpin_pool *pool;

		if (!path || !word || word < path)
			die("NAME=PATH:VERDICT, not %s", argv[i]);
		*path++ = *word++ = '\0';
		pool = check(path, verdict_of(word));
		if (!strcmp(word, "closed"))
			pool = check_closed(path, pool);
		printf("verified %s %s\n", argv[i], word);
		fflush(stdout);
	}
	puts("ready");
	fflush(stdout);
	pause();
	return 0;
}
