/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * owner DIRECTORY keep: publishes extents of 16 MiB until a pool of three segments of
 * 32 MiB has one in its last segment, and closes the pool.
 *
 * owner DIRECTORY object: publishes a small object in the second segment of 32 MiB of a
 * pool, and closes the pool.
 *
 * owner DIRECTORY newer: makes each superblock of a closed pool one of a format that
 * does not exist yet.
 *
 * owner DIRECTORY: has a pool open for the tests of the command. It holds an extent
 * with a label, and once more as a grant does, has a registration, writes a status
 * page, prints "ready", and closes the pool at the end of its standard input.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>
#include <daxpin-status.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(const char *what, int ret)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "owner: %s: %s\n", what, daxpin_strerror(ret));
	exit(1);
}

static int keep_extents(struct daxpin_pool *pool)
{
	struct daxpin_op keep = { .type = DAXPIN_OP_KEEP };

	do {
		must("reserve", daxpin_reserve(pool, 16 << 20, 0, &keep.extent));
		must("publish", daxpin_publish(pool, &keep, 1, NULL, NULL));
	} while (keep.extent.addr < 64 << 20);
	must("close", daxpin_pool_close(pool));
	return 0;
}

#define EXTENTS		400u

/* Reserves all space below this address, so that what is reserved next is above it. */
static unsigned int fill_below(struct daxpin_pool *pool, uint64_t limit,
			       struct daxpin_extent *extent)
{
	unsigned int count = 0, below = 0;

	for (uint64_t size = 16 << 20; size >= DAXPIN_BLOCK_SIZE; size /= 2)
		while (count < EXTENTS &&
		       !daxpin_reserve(pool, size, 0, &extent[count]))
			count++;
	for (unsigned int i = 0; i < count; i++)
		if (extent[i].addr < limit)
			extent[below++] = extent[i];
		else
			must("cancel", daxpin_cancel(pool, extent[i]));
	return below;
}

static int keep_object(struct daxpin_pool *pool)
{
	struct daxpin_op keep = { .type = DAXPIN_OP_OBJECT_KEEP };
	struct daxpin_extent extent[EXTENTS];
	unsigned int count = fill_below(pool, 32 << 20, extent);

	must("reserve", daxpin_object_reserve(pool, 100, 0, &keep.extent.addr));
	must("publish", daxpin_publish(pool, &keep, 1, NULL, NULL));
	while (count)
		must("cancel", daxpin_cancel(pool, extent[--count]));
	must("close", daxpin_pool_close(pool));
	return keep.extent.addr < 32 << 20;
}

/* docs/format.md: where the halves of a superblock are, its version, and its check. */
#define VERSION		8
#define CHECK		2040
#define NEWER		99u

static int make_newer(const char *path)
{
	static const off_t halves[] = { 0, 4096, 0x1f0000, 0x1f1000 };
	const uint32_t version = NEWER;
	uint64_t bytes[4096 / 8], check;
	char name[4096];

	for (unsigned int i = 0; i < 8; i++) {
		int segment = (int)i / 4, fd;

		snprintf(name, sizeof(name), "%s/segment.%04d", path, segment);
		fd = open(name, O_RDWR | O_CLOEXEC);
		if (fd < 0 || pread(fd, bytes, 4096, halves[i % 4]) != 4096)
			return 1;
		memcpy((char *)bytes + VERSION, &version, sizeof(version));
		check = XXH3_64bits(bytes, CHECK);
		memcpy((char *)bytes + CHECK, &check, sizeof(check));
		if (pwrite(fd, bytes, 4096, halves[i % 4]) != 4096 || close(fd))
			return 1;
	}
	return 0;
}

/* Does the page show the hold and the registration? Yes, if there is no page. */
static int is_shown(const char *path)
{
	struct daxpin_status_info info = { .size = sizeof(info) };
	struct daxpin_pool_info pool = { .size = sizeof(pool) };
	struct daxpin_status *status;
	int ret = daxpin_status_open(path, NULL, 0, &status);

	if (ret == -ENODATA)
		return 1;
	must("status", ret);
	must("status info", daxpin_status_info(status, &info));
	must("status pool", daxpin_status_pool(status, &pool));
	daxpin_status_close(status);
	return info.labelled_holds == 2 && pool.registrations == 1;
}

/* A snapshot that took long to write delays the next one. */
static void show(struct daxpin_pool *pool, const char *path)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	do {
		usleep(10000);
		must("info", daxpin_pool_info(pool, &info));
	} while (!is_shown(path));
}

int main(int argc, char **argv)
{
	const char *label = getenv("OWNER_LABEL");	/* of its registration */
	struct daxpin_registration_options options = {
		.size = sizeof(options), .label = label ? label : "a \"test\" ring",
	};
	struct daxpin_hold hold = { .access = 0 }, grant = { .access = 0 };
	struct daxpin_registration *registration;
	struct daxpin_extent extent;
	struct daxpin_pool *pool;
	char byte;

	if (argc != 2 && argc != 3)
		return 2;
	if (argc == 3 && !strcmp(argv[2], "newer"))
		return make_newer(argv[1]);
	must("open", daxpin_pool_open(argv[1], NULL, &pool));
	if (argc == 3)
		return strcmp(argv[2], "object") ? keep_extents(pool) :
						   keep_object(pool);
	must("reserve", daxpin_reserve(pool, 1 << 20, 0, &extent));
	must("hold", daxpin_hold_labelled(pool, extent, DAXPIN_HOLD_WRITE,
					  "a slow device", &hold));
	must("grant", daxpin_hold_labelled(pool, extent, DAXPIN_HOLD_READ |
					   DAXPIN_HOLD_GRANT, "a peer", &grant));
	must("register", daxpin_register(pool, DAXPIN_ALL_SEGMENTS, &options,
					 &registration));
	show(pool, argv[1]);
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	must("unregister", daxpin_unregister(registration));
	must("drop", daxpin_drop_labelled(pool, &hold));
	must("drop", daxpin_drop_labelled(pool, &grant));
	must("cancel", daxpin_cancel(pool, extent));
	must("close", daxpin_pool_close(pool));
	return 0;
}
