/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library's sentences name its flags and fields, which a user of the command cannot
 * give. tests/tool/names searches the library for sentences that this misses.
 */
#include <stdio.h>
#include <string.h>
#include "names.h"

#define SENTENCE	2048		/* the longest, with its paths */
/* What only a program that calls the library can do. */
#define PROGRAM(accepts) "use a program that accepts " accepts
#define NO_OPTION " (the library has a flag for it, and this command has no option)"

/* In this order. commands NULL: all that no row before it has changed. */
static const struct {
	const char *words, *instead, *commands;
} names[] = {
	{ "the overwrite flag", "--overwrite", "create bench" },
	{ "the overwrite flag", "`daxpin create --overwrite`", NULL },
	{ "pool_size", "--size", "create bench" },
	{ "segment_size", "--segment-size", "create" },
	{ "a larger segment_size", "a larger --segment-size", NULL },
	{ "up to segment_size, ", "up to ", NULL },
	{ "options.mode 0", "--mode 0", "create" },
	{ "a later deadline", "--wait SECONDS",
	  "create remove grow shrink check repair" },
	{ ", or wait with a later deadline", ", and run this again", NULL },
	{ "wait with a later deadline", "run this again later", NULL },
	{ "open the copy with DAXPIN_POOL_ADOPT (daxpin adopt)", "use `daxpin adopt`",
	  NULL },
	{ "DAXPIN_POOL_ANY_NODE", "--any-node", "check repair" },
	{ "allow it with DAXPIN_POOL_ANY_NODE",
	  PROGRAM("any node of a device") NO_OPTION, NULL },
	{ "use files of your own, or allow it with DAXPIN_POOL_ANY_OWNER",
	  "run this as that user", NULL },
	{ "allow it with DAXPIN_POOL_ANY_OWNER",
	  PROGRAM("pools that other users can change") NO_OPTION, NULL },
	{ "allow it with DAXPIN_POOL_ANY_FILESYSTEM, which excludes DMA",
	  PROGRAM("any filesystem, which excludes DMA") NO_OPTION, NULL },
	{ "close it, and open it with max_size of at least that (see also RLIMIT_AS)",
	  "raise the limit of addresses (RLIMIT_AS, ulimit -v)", NULL },
	{ ", or open with no deadline and no progress function, which waits without end in the calling thread",
	  "", NULL },
	{ ", or shrink with DAXPIN_NO_DEADLINE and without progress(), which waits without end in the calling thread",
	  "", NULL },
};

/* Is the text at `at`, of that length, a part of a path? */
static int names_are_in_path(const char *errmsg, const char *path, const char *at,
			     size_t length)
{
	const char *found = *path ? strstr(errmsg, path) : NULL, *word = at;

	for (; found && found <= at; found = strstr(found + 1, path))
		if (found + strlen(path) >= at + length)
			return 1;
	/* A directory above it, for example. */
	while (word > errmsg && word[-1] != ' ')
		word--;
	return !!memchr(word, '/', (size_t)(at - word) + strcspn(at, " "));
}

static void names_append(char *errmsg, size_t size, const char *text, size_t length)
{
	size_t used = strlen(errmsg);

	snprintf(errmsg + used, size - used, "%.*s", (int)length, text);
}

static void names_replace_one(char *errmsg, size_t size, const char *path,
			      const char *words, const char *instead)
{
	char before[SENTENCE];
	const char *from = before, *at;
	size_t length = strlen(words);

	snprintf(before, sizeof(before), "%s", errmsg);
	errmsg[0] = '\0';
	for (; (at = strstr(from, words)); from = at + length) {
		names_append(errmsg, size, from, (size_t)(at - from));
		if (names_are_in_path(before, path, at, length))
			names_append(errmsg, size, words, length);
		else
			names_append(errmsg, size, instead, strlen(instead));
	}
	names_append(errmsg, size, from, strlen(from));
}

void names_replace(const char *command, const char *path, char *errmsg, size_t size)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!names[i].commands || strstr(names[i].commands, command))
			names_replace_one(errmsg, size, path, names[i].words,
					  names[i].instead);
}
