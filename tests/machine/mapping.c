/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The os calls on memory. On an in-place disk, reserved addresses are the disk's own,
 * and anonymous mappings are reused: mapping them and faulting them in would take most
 * of the time of an open.
 */
#include <errno.h>
#include <sys/mman.h>
#include "expect.h"
#include "handle.h"
#include "machine.h"
#include "mapping.h"
#include "os/os.h"

#define MAPPINGS	16u
#define PARKED_MAX	16u

static struct machine_mapping mappings[MAPPINGS];

static void forget(const char *from, uint64_t size)
{
	for (uint32_t i = 0; i < MAPPINGS; i++)
		if (mappings[i].at >= from && mappings[i].at < from + size)
			mappings[i].size = 0;
}

/* Anonymous mappings that were unmapped, for reuse. */
static struct {
	void *base;
	uint64_t size;
} parked[PARKED_MAX];

static bool is_in_place(void)
{
	return machine.disk->memfd < 0;
}

/* ---------------------------------------------------------------- mappings */

static void remember(void *at, uint64_t size, uint32_t file, bool writable)
{
	for (uint32_t i = 0; i < MAPPINGS; i++) {
		if (mappings[i].size)
			continue;
		mappings[i] = (struct machine_mapping) { at, size, file, writable };
		return;
	}
	expect(false, "too many mappings of files");
}

/*
 * A create maps its files before they have their size. Addresses past the size must not
 * be used.
 */
static bool ends_before(const struct machine_mapping *mapping, const char *end)
{
	return end <= mapping->at + dp_min(mapping->size,
					   machine_inode(mapping->file)->size);
}

const struct machine_mapping *machine_mapping_at(const void *at, uint64_t size)
{
	const char *byte = at;

	for (uint32_t i = 0; i < MAPPINGS; i++)
		if (mappings[i].size && byte >= mappings[i].at &&
		    ends_before(&mappings[i], byte + size))
			return &mappings[i];
	return NULL;
}

void machine_mappings_forget(void)
{
	memset(mappings, 0, sizeof(mappings));
}

void machine_mappings_expect_none(void)
{
	for (uint32_t i = 0; i < MAPPINGS; i++)
		expect(!mappings[i].size, "a file is still mapped");
}

/* --------------------------------------------------------------------- map */

static void *map_or_die(void *at, uint64_t size, int protection, int flags,
			uint64_t offset)
{
	void *base = mmap(at, size, protection, flags, machine.disk->memfd,
			  offset);

	expect(base != MAP_FAILED, "mmap of %llu bytes: %s",
	       (unsigned long long)size, strerror(errno));
	return base;
}

/*
 * The library must store to metadata through persist.h, so they are always mapped
 * read-only.
 */
static void *map_shared(void *at, uint64_t size, int protection, int flags,
			uint32_t file)
{
	uint64_t offset = file * machine.disk->file_max;
	char *base = map_or_die(at, size, protection,
				MAP_SHARED | (flags & MAP_FIXED), offset);

	if (protection & PROT_WRITE)
		map_or_die(base, dp_min(size, dp_layout_meta_size(size)), PROT_READ,
			   MAP_SHARED | MAP_FIXED, offset);
	return base;
}

static void *map_file(void *at, uint64_t size, int protection, int flags,
		      uint32_t file)
{
	void *base;

	expect(size <= machine.disk->file_max, "mapped past the file");
	if (is_in_place()) {
		base = machine_memory(file);
		expect(!at || at == base, "mapped out of place");
	} else {
		base = map_shared(at, size, protection, flags, file);
	}
	remember(base, size, file, protection & PROT_WRITE);
	return base;
}

static void *take_parked(uint64_t size)
{
	void *base;

	for (uint32_t i = 0; i < PARKED_MAX; i++) {
		if (!parked[i].base || parked[i].size != size)
			continue;
		base = parked[i].base;
		parked[i].base = NULL;
		return memset(base, 0, size);
	}
	return NULL;
}

static void *map_anonymous(void *at, uint64_t size, int protection, int flags)
{
	void *base = NULL;

	if (flags & MAP_FIXED)
		forget(at, size);
	if (is_in_place() && flags & MAP_FIXED)
		return at;
	if (is_in_place() && protection == PROT_NONE && flags & MAP_NORESERVE)
		return machine.disk->memory;
	if (is_in_place()) {
		base = take_parked(size);
		protection = PROT_READ | PROT_WRITE;
	}
	return base ? base : mmap(at, size, protection, flags, -1, 0);
}

int dp_os_map(void *at, uint64_t size, int protection, int flags, int fd,
	      void **ret_base)
{
	void *base = fd >= 0 ?
		     map_file(at, size, protection, flags, machine_handle_file(fd)) :
		     map_anonymous(at, size, protection, flags);

	if (base == MAP_FAILED)
		return -ENOMEM;
	if (fd < 0 && protection == PROT_NONE && flags & MAP_FIXED)
		forget(at, size);
	/* MAP_FIXED replaces a mapping that was counted already. */
	machine.mapped += flags & MAP_FIXED ? 0 : size;
	*ret_base = base;
	return 0;
}

/* ------------------------------------------------------------------- unmap */

static bool is_of_disk(const char *at)
{
	const struct machine_disk *disk = machine.disk;

	return is_in_place() && at >= disk->memory &&
	       at < (char *)(disk->inode + disk->files) + 2 * DP_CHUNK_SIZE;
}

static bool park(void *base, uint64_t size)
{
	for (uint32_t i = 0; is_in_place() && i < PARKED_MAX; i++)
		if (!parked[i].base) {
			parked[i].base = base;
			parked[i].size = size;
			return true;
		}
	return false;
}

void dp_os_unmap(void *base, uint64_t size)
{
	forget(base, size);
	expect(machine.mapped >= size, "unmapped twice");
	machine.mapped -= size;
	if (!is_of_disk(base) && !park(base, size))
		expect(!munmap(base, size), "munmap: %s", strerror(errno));
}

/* ------------------------------------------------------------------ others */

/* The mapping is not counted in machine.mapped, since it is never unmapped. */
int dp_os_map_for_process(uint64_t size, void **ret_base)
{
	*ret_base = map_anonymous(NULL, size, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS);
	return *ret_base == MAP_FAILED ? -ENOMEM : 0;
}

int dp_os_advise(void *from, uint64_t size, int advice)
{
	(void)from;
	(void)size;
	(void)advice;
	return 0;
}

int dp_os_msync(const void *from, uint64_t size)
{
	(void)from;
	(void)size;
	return -ENOSYS;
}

/* `from` is in the mapping of a file, or in a private copy that a check has made. */
int dp_os_copy_checked(void *to, const void *from, uint64_t size)
{
	const struct machine_mapping *mapping = machine_mapping_at(from, size);
	uint64_t offset;

	if (!mapping) {
		memcpy(to, from, size);
		return 0;
	}
	offset = (const char *)from - mapping->at;
	if (machine_is_poisoned(mapping->file, offset, size))
		return -EIO;
	machine_read(mapping->file, offset, to, size);
	return 0;
}

int dp_os_copy_by_pipe(const int fd[2], void *to, const void *from,
		       uint64_t size)
{
	(void)fd;
	return dp_os_copy_checked(to, from, size);
}
