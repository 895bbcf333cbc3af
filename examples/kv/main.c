/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kv POOL COMMAND: a key-value store from the shell. POOL is a directory or a
 * device-dax node. If there is no pool, put creates one of 64 MiB, or of the whole
 * device, and in an empty pool it makes a store. No other command makes anything.
 *
 *	kv POOL put KEY VALUE	or `-` for VALUE: standard input
 *	kv POOL get KEY
 *	kv POOL delete KEY
 *	kv POOL list		every key, with the size of its value
 *	kv POOL check		compares the store with the pool
 *	kv POOL shrink SIZE	makes the pool smaller, for example to 32M
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "kv.h"

static struct kv_bytes word(const char *text)
{
	return (struct kv_bytes) { text, strlen(text) };
}

/* Read standard input to its end. NULL: no memory, or an error, in errno. */
static char *read_input(size_t *ret_size)
{
	size_t size = 0, room = 4096;
	char *bytes = malloc(room);
	ssize_t got = 1;

	while (bytes && (got = read(0, bytes + size, room - size)) > 0) {
		char *more = bytes;

		size += got;
		if (size == room)
			more = realloc(bytes, room *= 2);
		if (!more)
			free(bytes);
		bytes = more;
	}
	if (got < 0) {
		free(bytes);
		return NULL;
	}
	*ret_size = size;
	return bytes;
}

static int put(struct kv *kv, char **words)
{
	struct kv_bytes value = word(words[1]);
	char *input = NULL;
	int ret;

	if (!strcmp(words[1], "-")) {
		input = read_input(&value.size);
		if (!input)
			return -errno;
		value.bytes = input;
	}
	ret = kv_put(kv, word(words[0]), value);
	free(input);
	return ret;
}

static int write_all(const char *bytes, size_t size)
{
	return fwrite(bytes, 1, size, stdout) == size && !fflush(stdout) ? 0 : -EIO;
}

static int get(struct kv *kv, char **words)
{
	size_t size = 0;
	char *value;
	int ret = kv_get(kv, word(words[0]), NULL, 0, &size);

	if (ret)
		return ret;
	value = malloc(size + 1);
	if (!value)
		return -ENOMEM;
	ret = kv_get(kv, word(words[0]), value, size, &size);
	if (!ret)
		ret = write_all(value, size);
	free(value);
	return ret;
}

static int delete(struct kv *kv, char **words)
{
	return kv_delete(kv, word(words[0]));
}

static int print_key(struct kv_bytes key, struct kv_bytes value, void *arg)
{
	(void)arg;
	printf("%10zu %.*s\n", value.size, (int)key.size, (const char *)key.bytes);
	return 0;
}

static int list(struct kv *kv, char **words)
{
	(void)words;
	return kv_foreach(kv, print_key, NULL);
}

static int check(struct kv *kv, char **words)
{
	struct kv_counts counts;
	int ret = kv_check(kv, &counts);

	(void)words;
	if (ret)
		return ret;
	printf("%llu keys, %llu slots, %llu of them of deleted keys; "
	       "%llu leaked, %llu broken\n",
	       (unsigned long long)counts.keys, (unsigned long long)counts.slots,
	       (unsigned long long)counts.removed, (unsigned long long)counts.leaked,
	       (unsigned long long)counts.broken);
	return counts.leaked || counts.broken ? -EUCLEAN : 0;
}

/* Bytes, or with K, M or G behind the number. -EINVAL. */
static int parse_size(const char *text, uint64_t *ret_size)
{
	static const char units[] = "KMG";
	uint64_t limit = UINT64_MAX, size;
	const char *unit;
	char *end;

	errno = 0;
	size = strtoull(text, &end, 10);
	if (errno || end == text || *text == '-')
		return -EINVAL;
	unit = *end ? strchr(units, *end) : NULL;
	if (unit && end[1] == '\0') {
		limit >>= 10 * (unit - units + 1);
		*ret_size = size << 10 * (unit - units + 1);
	} else if (!*end) {
		*ret_size = size;
	} else {
		return -EINVAL;
	}
	return size <= limit ? 0 : -EINVAL;
}

static int shrink(struct kv *kv, char **words)
{
	char errmsg[512] = "";
	uint64_t size;
	int ret = parse_size(words[0], &size);

	if (ret)
		return ret;
	ret = kv_shrink(kv, size, daxpin_deadline_ms(60000), errmsg, sizeof(errmsg));
	if (ret)
		fprintf(stderr, "kv: %s\n", errmsg);
	return ret;
}

static const struct command {
	const char *name;
	int words;
	int (*fn)(struct kv *kv, char **words);
	bool makes;			/* a pool and a store, if there is none */
} commands[] = {
	{ "put", 2, put, true },
	{ "get", 1, get, false },
	{ "delete", 1, delete, false },
	{ "list", 0, list, false },
	{ "check", 0, check, false },
	{ "shrink", 1, shrink, false },
};

static const struct command *find_command(int words, char **word)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (words == commands[i].words + 1 &&
		    !strcmp(word[0], commands[i].name))
			return &commands[i];
	return NULL;
}

static const char *why_no_store(int ret)
{
	switch (ret) {
	case -ENOENT:
		return "the pool is empty; the first put makes a store";
	case -ENOTEMPTY:
		return "the pool has data, but no root \"kv\": they are another program's, or of a store whose root is damaged or was removed by a repair; nothing was changed: use another pool";
	case -EUCLEAN:
		return "a part of the store was removed by a repair; nothing was changed: use another pool";
	default:
		return daxpin_strerror(ret);
	}
}

static int open_store(struct daxpin_pool *pool, bool makes, struct kv **ret_kv)
{
	int ret = kv_open(pool, ret_kv);

	if (ret == -ENOENT && makes) {
		ret = kv_make(pool);
		ret = ret ? ret : kv_open(pool, ret_kv);
	}
	return ret;
}

static int run(struct daxpin_pool *pool, const struct command *command, char **words)
{
	struct kv *kv;
	int ret = open_store(pool, command->makes, &kv);

	if (ret) {
		fprintf(stderr, "kv: %s: %s\n", command->name, why_no_store(ret));
		return ret;
	}
	ret = command->fn(kv, words);
	kv_close(kv);
	if (ret)
		fprintf(stderr, "kv: %s: %s\n", command->name, daxpin_strerror(ret));
	return ret;
}

/* A pool may have become smaller than a new one is. */
static int open_pool(const char *path, bool makes, struct daxpin_pool **ret_pool)
{
	char errmsg[512] = "";
	struct daxpin_pool_options options = {
		.size = sizeof(options),
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	int ret = daxpin_pool_open(path, &options, ret_pool);

	if (makes && (ret == -ENOENT || ret == -EMEDIUMTYPE)) {
		options.flags = DAXPIN_POOL_CREATE;
		options.pool_size = 64 << 20;
		options.segment_size = DAXPIN_SEGMENT_MIN;
		ret = daxpin_pool_open(path, &options, ret_pool);
	}
	if (ret)
		fprintf(stderr, "kv: %s\n", errmsg);
	return ret;
}

int main(int argc, char **argv)
{
	const struct command *command = find_command(argc - 2, argv + 2);
	struct daxpin_pool *pool;
	int ret, closed;

	if (!command) {
		fprintf(stderr, "usage: kv POOL put KEY VALUE | get KEY | delete KEY"
			" | list | check | shrink SIZE\n");
		return 2;
	}
	if (open_pool(argv[1], command->makes, &pool))
		return 1;
	ret = run(pool, command, argv + 3);
	closed = daxpin_pool_close(pool);
	if (closed)
		fprintf(stderr, "kv: close: %s\n", daxpin_strerror(closed));
	return ret || closed ? 1 : 0;
}
