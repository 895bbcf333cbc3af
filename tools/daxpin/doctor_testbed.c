/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory to try things on. In a directory it is a new file without a name (O_TMPFILE),
 * so that a killed run leaves no file; on a filesystem without O_TMPFILE the name is
 * removed immediately. Only the trial that pins a page of a DAX file uses a file with a
 * name: from Linux 6.15 on the last close of a nameless file waits for its pins, and a
 * killed process whose own pipe has the pin might wait for itself. A page of a file
 * with a name stays with the inode. The run that creates such a file keeps it locked;
 * each run of the trial removes those that no process has locked.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "doctor.h"

/* Older headers lack it. */
#ifndef MAP_SYNC
#define MAP_SYNC	0x80000
#endif

/* Linux 5.14. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

#define NAME_TRIES	16

/* ------------------------------------------------------- a file with a name */

static int create_named(int dir, char name[SCRATCH_NAME_SIZE])
{
	int fd = -1;

	for (int i = 0; fd < 0 && i < NAME_TRIES; i++) {
		snprintf(name, SCRATCH_NAME_SIZE, SCRATCH_PREFIX "%d-%d",
			 (int)getpid(), i);
		fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
			    0600);
		if (fd < 0 && errno != EEXIST)
			return -errno;
	}
	return fd < 0 ? -EEXIST : fd;
}

/* Allocate all space before it is touched, so that a full disk is an error here and not
 * a SIGBUS later. */
static int allocate(int fd, uint64_t size)
{
	return fallocate(fd, 0, 0, size) ? -errno : 0;
}

/* The sweep of another run can find the file before this one locks it. The other run
 * then locks the file and removes it, so another file is made. */
static int create_locked(int dir, char name[SCRATCH_NAME_SIZE])
{
	for (int i = 0; i < NAME_TRIES; i++) {
		int fd = create_named(dir, name), ret = 0;
		struct stat stat;

		if (fd < 0)
			return fd;
		if (flock(fd, LOCK_EX) || fstat(fd, &stat))
			ret = -errno;
		if (!ret && stat.st_nlink)
			return fd;
		if (ret)
			unlinkat(dir, name, 0);
		close(fd);
		if (ret)
			return ret;
	}
	return -EAGAIN;
}

int testbed_named_file(const struct place *place, uint64_t size,
		       char name[SCRATCH_NAME_SIZE])
{
	int fd = create_locked(place->fd, name);
	int ret;

	if (fd < 0)
		return fd;
	ret = allocate(fd, size);
	if (!ret)
		return fd;
	unlinkat(place->fd, name, 0);
	close(fd);
	return ret;
}

static void remove_abandoned(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	struct stat stat;

	if (fd < 0)
		return;
	/* If the file has no name any more, the name may be a newer file's. */
	if (!flock(fd, LOCK_EX | LOCK_NB) && !fstat(fd, &stat) && stat.st_nlink)
		unlinkat(dir, name, 0);
	close(fd);
}

void testbed_sweep(const struct place *place)
{
	int fd = openat(place->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (!strncmp(entry->d_name, SCRATCH_PREFIX,
			     sizeof(SCRATCH_PREFIX) - 1))
			remove_abandoned(place->fd, entry->d_name);
	closedir(dir);
}

/* -------------------------------------------------------- one that has none */

static int create_nameless(int dir)
{
	char name[SCRATCH_NAME_SIZE];
	int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd < 0 ? -errno : fd;
	/* The filesystem has no O_TMPFILE: remove the name immediately. */
	fd = create_named(dir, name);
	if (fd >= 0)
		unlinkat(dir, name, 0);
	return fd;
}

/* ------------------------------------------------------------------ mapping */

void *testbed_map(int fd, uint64_t size, int flags)
{
	char *hole, *at, *base;
	int error;

	hole = mmap(NULL, size + CHUNK, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (hole == MAP_FAILED)
		return NULL;
	at = hole + (CHUNK - (uintptr_t)hole % CHUNK) % CHUNK;
	base = mmap(at, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);
	error = errno;
	if (base == MAP_FAILED) {
		munmap(hole, size + CHUNK);
		errno = error;
		return NULL;
	}
	if (at > hole)
		munmap(hole, at - hole);
	if (at < hole + CHUNK)
		munmap(at + size, hole + CHUNK - at);
	return base;
}

/* The kernel chooses the address of a device's mapping, so that it is aligned. */
static char *map_with(const struct testbed *testbed, int flags)
{
	void *base;

	if (testbed->scratch)
		return testbed_map(testbed->fd, testbed->size, flags);
	base = mmap(NULL, testbed->size, PROT_READ | PROT_WRITE, flags,
		    testbed->fd, 0);
	return base == MAP_FAILED ? NULL : base;
}

static void map(struct testbed *testbed)
{
	testbed->base = map_with(testbed, MAP_SHARED_VALIDATE | MAP_SYNC);
	if (testbed->base)
		return;
	testbed->sync_error = errno;
	testbed->base = map_with(testbed, MAP_SHARED);
	if (!testbed->base)
		snprintf(testbed->errmsg, sizeof(testbed->errmsg),
			 "the memory cannot be mapped: %s", strerror(errno));
}

int testbed_touch(void *at, uint64_t size, bool write)
{
	int advice = write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;

	return madvise(at, size, advice) ? -errno : 0;
}

static void open_scratch(struct testbed *testbed, const struct place *place)
{
	int ret;

	testbed->scratch = true;
	testbed->size = SCRATCH_SIZE;
	ret = create_nameless(place->fd);
	testbed->fd = ret < 0 ? -1 : ret;
	if (ret >= 0)
		ret = allocate(testbed->fd, testbed->size);
	if (ret) {
		snprintf(testbed->errmsg, sizeof(testbed->errmsg),
			 "no scratch file of %" PRIu64 " MiB can be created in the directory: %s",
			 SCRATCH_SIZE / MIB, strerror(-ret));
		return;
	}
	map(testbed);
}

static void open_device(struct testbed *testbed, const struct place *place)
{
	if (place->in_use) {
		snprintf(testbed->errmsg, sizeof(testbed->errmsg),
			 "the device is in use, and nothing is tried on it");
		return;
	}
	if (place->fd < 0) {
		snprintf(testbed->errmsg, sizeof(testbed->errmsg),
			 "%s cannot be opened for writing", place->path);
		return;
	}
	testbed->fd = place->fd;
	testbed->size = place->align > CHUNK ? place->align : CHUNK;
	map(testbed);
}

void testbed_open(struct testbed *testbed, const struct place *place)
{
	memset(testbed, 0, sizeof(*testbed));
	testbed->fd = -1;
	if (place->device[0])
		open_device(testbed, place);
	else
		open_scratch(testbed, place);
}

void testbed_close(struct testbed *testbed)
{
	if (testbed->base)
		munmap(testbed->base, testbed->size);
	if (testbed->scratch && testbed->fd >= 0)
		close(testbed->fd);
	testbed->base = NULL;
	testbed->fd = -1;
}
