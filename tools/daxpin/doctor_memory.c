/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory itself: whether it can be mapped with MAP_SYNC, how much memory one page
 * fault maps, which sectors are bad, and how much this process may lock.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "doctor.h"

static bool is_dax(const struct place *place)
{
	return place->source == DAXPIN_SOURCE_DEVDAX ||
	       place->source == DAXPIN_SOURCE_FSDAX;
}

/* ----------------------------------------------------------------- MAP_SYNC */

/* Needed only on a DAX filesystem: a device has no filesystem metadata that could be
 * less durable than the data. */
static void report_map_sync(struct doctor *doctor)
{
	const struct testbed *testbed = &doctor->testbed;
	bool needed = doctor->place.source == DAXPIN_SOURCE_FSDAX;

	if (!testbed->base)
		doctor_report_no_testbed(doctor, SUBJECT_MAP_SYNC, needed);
	else if (!testbed->sync_error)
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_MAP_SYNC, .verdict = VERDICT_YES,
			.needed = needed,
		}, "a file was mapped with it");
	else
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_MAP_SYNC, .verdict = VERDICT_NO,
			.needed = needed,
			.remedy = needed ? "put the filesystem on persistent memory where a CPU flush makes a store durable; on virtio-pmem it does not" : NULL,
		}, "refused: %s", strerror(testbed->sync_error));
}

/* --------------------------------------------------------------- huge pages */

static long page_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/*
 * Count the page faults of each 2 MiB. smaps is not used, because on some kernels it
 * does not show the huge pages of a device or a DAX file.
 */
static int count_huge(const struct testbed *testbed, unsigned int *ret_huge,
		      long *ret_most)
{
	*ret_huge = 0;
	*ret_most = 0;
	for (uint64_t at = 0; at < testbed->size; at += CHUNK) {
		long before = page_faults(), faults;
		int ret = testbed_touch(testbed->base + at, CHUNK,
					testbed->scratch);

		if (ret)
			return ret;
		faults = page_faults() - before;
		*ret_huge += faults <= 1;
		if (faults > *ret_most)
			*ret_most = faults;
	}
	return 0;
}

static const char *huge_remedy(const struct place *place)
{
	if (place->source == DAXPIN_SOURCE_DEVDAX)
		return "create the namespace with ndctl create-namespace -m devdax -a 2M";
	if (place->source == DAXPIN_SOURCE_SHMEM)
		return "mount the tmpfs with -o huge=within_size";
	if (place->source == DAXPIN_SOURCE_DISK)
		return NULL;
	if (!strcmp(place->filesystem, "XFS"))
		return "mkfs.xfs -d su=2m,sw=1, and xfs_io -c 'extsize 2m' on the directory before the pool is made";
	return "mkfs.ext4 -b 4096 -E stride=512,stripe_width=512, on a namespace that begins at a multiple of 2 MiB";
}

/* How many chunks of the existing pool cannot be huge pages. The pool is only read. */
static const char *pool_alignment(const struct place *place, char text[96])
{
	text[0] = '\0';
	if (place->opened && is_dax(place))
		snprintf(text, 96, "; in the pool %" PRIu64 " of %" PRIu64 " chunks are unaligned",
			 place->info.unaligned_chunks,
			 place->media_bytes / CHUNK);
	return text;
}

static void report_huge_pages(struct doctor *doctor)
{
	const struct place *place = &doctor->place;
	const struct testbed *testbed = &doctor->testbed;
	unsigned int huge, chunks = testbed->size / CHUNK;
	struct answer answer = {
		.subject = SUBJECT_HUGE_PAGES, .needed = is_dax(place),
		.verdict = VERDICT_UNKNOWN,
	};
	char text[96];
	long most;
	int ret;

	if (!testbed->base) {
		doctor_report_no_testbed(doctor, answer.subject, answer.needed);
		return;
	}
	ret = count_huge(testbed, &huge, &most);
	if (ret) {
		answer.remedy = ret == -EINVAL ? "Linux 5.14 or later" :
			"check in the kernel's log whether the medium is bad";
		doctor_report(doctor, answer, "the kernel cannot make the memory present: %s",
			      strerror(-ret));
		return;
	}
	answer.verdict = huge == chunks && !(place->opened && is_dax(place) &&
					     place->info.unaligned_chunks) ?
			 VERDICT_YES : VERDICT_NO;
	if (answer.verdict == VERDICT_NO)
		answer.remedy = huge_remedy(place);
	doctor_report(doctor, answer,
		      "%u of the %u chunks of 2 MiB that were tried took one page fault, and none took more than %ld%s",
		      huge, chunks, most, pool_alignment(place, text));
}

/* --------------------------------------------------------------- bad blocks */

/* The file's text, or false. */
static bool read_text(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");
	size_t length;
	bool good;

	if (!file)
		return false;
	length = fread(text, 1, size - 1, file);
	text[length] = '\0';
	good = !ferror(file);
	fclose(file);
	return good;
}

/* Only root can read where a device begins in its region: other users read 0. */
static bool has_begin(const char *device, const char *what)
{
	unsigned long long begin = 0;
	char path[160], text[32];

	snprintf(path, sizeof(path), "/sys/bus/dax/devices/%s/%s", device,
		 what);
	return read_text(path, text, sizeof(text)) &&
	       sscanf(text, "%llx", &begin) == 1 && begin;
}

static bool name_list(const struct place *place, char path[160])
{
	struct stat st;
	char dir[64];

	if (place->device[0]) {
		snprintf(path, 160,
			 "/sys/bus/dax/devices/%s/../../badblocks",
			 place->device);
		return has_begin(place->device, "resource") &&
		       has_begin(place->device, "../../resource");
	}
	if (fstat(place->fd, &st))
		return false;
	snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u", major(st.st_dev),
		 minor(st.st_dev));
	snprintf(path, 160, "%s/start", dir);
	/* The list of a partition is that of its disk. */
	snprintf(path, 160, "%s/%sbadblocks", dir,
		 access(path, F_OK) ? "" : "../");
	return true;
}

static void report_bad_blocks(struct doctor *doctor)
{
	const struct place *place = &doctor->place;
	char path[160], text[64] = "";
	bool known;

	if (!is_dax(place))
		return;
	/* For a disk without a list the file has one empty line. */
	known = name_list(place, path) && read_text(path, text, sizeof(text)) &&
		strcmp(text, "\n") != 0;
	if (place->opened)
		known = !place->info.bad_unknown;
	if (!known)
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_BAD_BLOCKS, .verdict = VERDICT_NO,
			.needed = true,
			.remedy = "run the owner as root; a device-mapper device, and memory that is not an NVDIMM, has no list, and daxpin uses bad blocks there like others",
		}, "the list cannot be read completely");
	else if (place->opened)
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_BAD_BLOCKS, .verdict = VERDICT_YES,
			.needed = true,
		}, "the list was read: %" PRIu64 " KiB of the pool are bad, and are never allocated",
			      place->info.bad_bytes >> 10);
	else
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_BAD_BLOCKS, .verdict = VERDICT_YES,
			.needed = true,
		}, "the list was read, and %s",
		text[0] ? "has bad blocks" : "is empty");
}

/* ------------------------------------------------------------------ MEMLOCK */

/* The capability is effective only in the initial user namespace. */
static bool may_lock_all(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };
	unsigned long long inside, outside, count;
	char text[128];

	if (!read_text("/proc/self/uid_map", text, sizeof(text)) ||
	    sscanf(text, "%llu %llu %llu", &inside, &outside, &count) != 3 ||
	    inside || outside || count < UINT32_MAX)
		return false;
	return !syscall(SYS_capget, &header, data) &&
	       data[0].effective & (1u << CAP_IPC_LOCK);
}

static void report_limit(struct doctor *doctor, struct answer answer,
			 uint64_t limit)
{
	uint64_t bytes = doctor->place.media_bytes;
	uint64_t need = bytes ? bytes : DAXPIN_SEGMENT_MIN;

	answer.verdict = limit >= need ? VERDICT_YES : VERDICT_NO;
	if (answer.verdict == VERDICT_NO)
		answer.remedy = "raise RLIMIT_MEMLOCK (ulimit -l; systemd: LimitMEMLOCK=), or give CAP_IPC_LOCK; without that, a program must attach rings with DAXPIN_URING_PLAIN";
	doctor_report(doctor, answer,
		      "the limit is %" PRIu64 " KiB, for a process's fixed buffers and memory regions; %s %" PRIu64 " KiB",
		      limit >> 10,
		      !bytes ? "the smallest segment has" :
		      doctor->place.device[0] ? "the device has" : "the pool has",
		      need >> 10);
}

static void report_memlock(struct doctor *doctor)
{
	const struct place *place = &doctor->place;
	struct answer answer = {
		.subject = SUBJECT_MEMLOCK, .verdict = VERDICT_YES,
		.needed = place->source == DAXPIN_SOURCE_DEVDAX ||
			  place->source == DAXPIN_SOURCE_SHMEM,
	};
	struct rlimit limit;

	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (may_lock_all())
		doctor_report(doctor, answer, "there is no limit, because this process has CAP_IPC_LOCK");
	else if (limit.rlim_cur == RLIM_INFINITY)
		doctor_report(doctor, answer, "there is no limit");
	else
		report_limit(doctor, answer, limit.rlim_cur);
}

void doctor_memory(struct doctor *doctor)
{
	report_map_sync(doctor);
	report_huge_pages(doctor);
	report_bad_blocks(doctor);
	report_memlock(doctor);
}
