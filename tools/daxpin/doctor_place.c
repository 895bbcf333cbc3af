/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kind of the path, and whether it is in use. The command briefly opens a pool
 * there for reading, because the library determines the kind. If the lock shows that
 * the pool is in use, the command opens none of its files.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <daxpin-status.h>
#include "doctor.h"
#include "names.h"
#include "show.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC	0x58465342
#endif

#define FIRST_SEGMENT	"segment.0000"

/* ------------------------------------------------------------- a pool there */

/* Open the pool even if it is damaged (DEGRADED), because what the medium supports does
 * not depend on its contents. */
static void try_pool(struct place *place)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options),
		.flags = DAXPIN_POOL_READONLY | DAXPIN_POOL_DEGRADED,
		.errmsg = place->pool_errmsg,
		.errmsg_size = sizeof(place->pool_errmsg),
	};
	struct daxpin_pool *pool;

	place->pool_error = daxpin_pool_open(place->path, &options, &pool);
	place->in_use = place->pool_error == -EBUSY;
	if (place->pool_error) {
		names_replace("doctor", place->path, place->pool_errmsg,
			      sizeof(place->pool_errmsg));
		return;
	}
	place->info.size = sizeof(place->info);
	place->opened = !daxpin_pool_info(pool, &place->info);
	daxpin_pool_close(pool);
	if (!place->opened)
		return;
	place->source = place->info.source;
	place->media_bytes = place->info.media_bytes;
}

/* ----------------------------------------------------------------- a device */

static bool read_attribute(const char *device, const char *name,
			   uint64_t *ret_value)
{
	char path[160], text[32] = "";
	FILE *file;
	bool got;

	snprintf(path, sizeof(path), "/sys/bus/dax/devices/%s/%s", device,
		 name);
	file = fopen(path, "re");
	if (!file)
		return false;
	got = fgets(text, sizeof(text), file) != NULL;
	fclose(file);
	*ret_value = strtoull(text, NULL, 0);
	return got && *ret_value;
}

/* Find the name "daxX.Y": the last component of the link that sysfs has for the device
 * number. */
static bool name_device(struct place *place, dev_t number)
{
	char path[64], target[512];
	const char *name;
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", major(number),
		 minor(number));
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return false;
	target[length] = '\0';
	name = strrchr(target, '/');
	name = name ? name + 1 : target;
	if (strncmp(name, "dax", 3) || strlen(name) >= sizeof(place->device))
		return false;
	strcpy(place->device, name);
	return read_attribute(name, "size", &place->media_bytes) &&
	       read_attribute(name, "align", &place->align);
}

/* Open the node with a shared lock, so that no process opens the pool for writing
 * during the trials. */
static void open_device(struct place *place)
{
	if (place->in_use)
		return;
	place->fd = open(place->path, O_RDWR | O_CLOEXEC);
	if (place->fd >= 0 && flock(place->fd, LOCK_SH | LOCK_NB)) {
		snprintf(place->pool_errmsg, sizeof(place->pool_errmsg),
			 "%s is locked by another process", place->path);
		place->in_use = true;
		close(place->fd);
		place->fd = -1;
	}
}

static int find_device(struct place *place, dev_t number, char *errmsg,
		       size_t errmsg_size)
{
	try_pool(place);
	if (!name_device(place, number)) {
		snprintf(errmsg, errmsg_size, "%s", place->pool_errmsg[0] ?
			 place->pool_errmsg : "the path is not a device-dax node");
		return -ENODEV;
	}
	place->source = DAXPIN_SOURCE_DEVDAX;
	open_device(place);
	return 0;
}

/* -------------------------------------------------------------- a directory */

static void name_filesystem(struct place *place, uint64_t magic)
{
	const char *name = magic == XFS_SUPER_MAGIC ? "XFS" :
			   magic == EXT4_SUPER_MAGIC ? "ext4" :
			   magic == TMPFS_MAGIC ? "tmpfs" : NULL;

	if (name)
		snprintf(place->filesystem, sizeof(place->filesystem), "%s",
			 name);
	else
		snprintf(place->filesystem, sizeof(place->filesystem),
			 "filesystem type 0x%" PRIx64, magic);
}

/* 1, 0, or -errno. The file `name` is not opened. */
static int is_dax(int fd, const char *name)
{
	struct statx stx;

	if (statx(fd, name, *name ? 0 : AT_EMPTY_PATH, 0, &stx))
		return -errno;
	return !!(stx.stx_attributes & STATX_ATTR_DAX);
}

/* Query the pool's first file if it exists, otherwise a new scratch file. */
static int classify_dax(const struct place *place)
{
	int ret = is_dax(place->fd, FIRST_SEGMENT);
	struct testbed file;

	if (ret >= 0)
		return ret;
	testbed_open(&file, place);
	ret = file.fd < 0 ? -EACCES : is_dax(file.fd, "");
	testbed_close(&file);
	return ret;
}

/* Count the files by name, because a pool in use is not opened. */
static void find_segments(struct place *place)
{
	struct stat st;
	char name[32];

	for (unsigned int i = 0; i < DAXPIN_SEGMENTS_MAX; i++) {
		snprintf(name, sizeof(name), "segment.%04u", i);
		if (fstatat(place->fd, name, &st, AT_SYMLINK_NOFOLLOW))
			break;
		place->media_bytes += st.st_size;
		place->segments++;
	}
}

static int find_directory(struct place *place, char *errmsg, size_t errmsg_size)
{
	struct statfs fs;
	int ret;

	place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (place->fd < 0 || fstatfs(place->fd, &fs)) {
		ret = -errno;
		snprintf(errmsg, errmsg_size, "%s: %s", place->path,
			 strerror(-ret));
		return ret;
	}
	name_filesystem(place, fs.f_type);
	try_pool(place);
	if (place->opened)
		place->segments = place->info.segments;
	else
		find_segments(place);
	if (place->source)
		return 0;
	if (fs.f_type == TMPFS_MAGIC) {
		place->source = DAXPIN_SOURCE_SHMEM;
		return 0;
	}
	ret = classify_dax(place);
	if (ret < 0) {
		snprintf(errmsg, errmsg_size,
			 "%s: no scratch file can be created in this directory to determine its kind: run this as a user who has permission to write to it",
			 place->path);
		return ret;
	}
	place->source = ret ? DAXPIN_SOURCE_FSDAX : DAXPIN_SOURCE_DISK;
	return 0;
}

int place_find(struct place *place, const char *path, char *errmsg,
	       size_t errmsg_size)
{
	struct stat st;
	int ret;

	memset(place, 0, sizeof(*place));
	place->path = path;
	place->fd = -1;
	if (stat(path, &st)) {
		ret = -errno;
		snprintf(errmsg, errmsg_size, "%s: %s", path, strerror(-ret));
		return ret;
	}
	if (S_ISCHR(st.st_mode))
		return find_device(place, st.st_rdev, errmsg, errmsg_size);
	if (S_ISDIR(st.st_mode))
		return find_directory(place, errmsg, errmsg_size);
	snprintf(errmsg, errmsg_size,
		 "%s is a file: a pool is a directory or a device-dax node",
		 path);
	return -ENOTDIR;
}

void place_close(struct place *place)
{
	if (place->fd >= 0)
		close(place->fd);
	place->fd = -1;
}

/* -------------------------------------------------------------- what to say */

/* daxpin_pool_open() refuses a filesystem if its locks may not exclude all others. */
static bool filesystem_is_refused(const struct place *place)
{
	return place->source == DAXPIN_SOURCE_DISK &&
	       place->pool_error == -EOPNOTSUPP;
}

static void report_opened(struct doctor *doctor)
{
	const struct daxpin_pool_info *info = &doctor->place.info;
	bool damaged = info->quarantined_bytes;

	doctor_report(doctor, (struct answer) {
		.subject = SUBJECT_POOL, .needed = true,
		.verdict = damaged ? VERDICT_NO : VERDICT_YES,
		.remedy = damaged ? "run `daxpin check`, which reports the damage" : NULL,
	}, "%u segment(s) of %" PRIu64 " MiB, %s%s", info->segments,
		      info->segment_size / MIB,
		      info->unclean ? "not closed by its last owner" : "closed",
		      damaged ? ", damaged" : "");
}

static void report_pool(struct doctor *doctor)
{
	const struct place *place = &doctor->place;

	if (place->opened)
		report_opened(doctor);
	else if (place->in_use)
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_POOL, .verdict = VERDICT_YES,
			.needed = true,
		}, "it is in use, so it was not examined: %s", place->pool_errmsg);
	else if (place->pool_error == -EMEDIUMTYPE)
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_POOL, .verdict = VERDICT_NO,
		}, "there is no pool yet");
	else
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_POOL, .verdict = VERDICT_NO,
			.needed = true,
			/* Other sentences contain the cure. */
			.remedy = place->pool_error == -EUCLEAN ?
				  "run `daxpin check`, which reports more" : NULL,
		}, "%s", place->pool_errmsg[0] ? place->pool_errmsg :
			      strerror(-place->pool_error));
}

static void report_page(struct doctor *doctor, const struct daxpin_status *status)
{
	static const char *const owner[] = {
		[DAXPIN_NO] = "died", [DAXPIN_YES] = "is running",
		[DAXPIN_UNKNOWN] = "may have died, since it is in another pid namespace",
	};
	struct daxpin_status_info about = { .size = sizeof(about) };
	char age[SHOW_TEXT] = "before the machine was started";

	daxpin_status_info(status, &about);
	if (about.age_ns != UINT64_MAX)
		show_time(about.age_ns, age);
	doctor_report(doctor, (struct answer) {
		.subject = SUBJECT_STATUS, .verdict = VERDICT_YES,
		.needed = true,
	}, "written %s%s by process %u, which %s", age,
		      about.age_ns == UINT64_MAX ? "" : " ago", about.pid,
		      owner[about.alive]);
}

static void report_status(struct doctor *doctor)
{
	const struct place *place = &doctor->place;
	struct daxpin_status *status;
	char errmsg[512] = "";
	int ret = daxpin_status_open(place->path, errmsg, sizeof(errmsg), &status);

	if (!ret) {
		report_page(doctor, status);
		daxpin_status_close(status);
		return;
	}
	names_replace("doctor", place->path, errmsg, sizeof(errmsg));
	doctor_report(doctor, (struct answer) {
		.subject = SUBJECT_STATUS,
		.verdict = ret == -EBUSY || ret == -EACCES ? VERDICT_UNKNOWN :
							     VERDICT_NO,
		.remedy = ret == -ENODATA && place->in_use ?
			"the owner's log says why, and so does its daxpin_pool_info(): status_error" :
			NULL,
	}, "%s", errmsg);
}

static void report_source(struct doctor *doctor)
{
	const struct place *place = &doctor->place;
	struct answer answer = {
		.subject = SUBJECT_SOURCE, .verdict = VERDICT_YES,
		.needed = true,
	};

	switch (place->source) {
	case DAXPIN_SOURCE_DEVDAX:
		doctor_report(doctor, answer,
			      "device-dax %s, %" PRIu64 " MiB, mapped in units of %" PRIu64 " KiB",
			      place->device, place->media_bytes / MIB,
			      place->align >> 10);
		break;
	case DAXPIN_SOURCE_FSDAX:
		doctor_report(doctor, answer, "a DAX filesystem, %s",
			      place->filesystem);
		break;
	case DAXPIN_SOURCE_SHMEM:
		doctor_report(doctor, answer,
			      "shmem, %s: ordinary memory, for tests and caches in place of persistent memory",
			      place->filesystem);
		break;
	case DAXPIN_SOURCE_DISK:
		answer.remedy = "for DMA use a device-dax node, or a directory on ext4 or XFS that is mounted with -o dax on persistent memory";
		if (filesystem_is_refused(place))
			answer.verdict = VERDICT_NO;
		doctor_report(doctor, answer,
			      "an ordinary directory, %s: %s", place->filesystem,
			      filesystem_is_refused(place) ?
			      "its locks do not exclude all other users, so a pool here is refused" :
			      "only the CPU can use a pool here, and hardware must not write to it");
		break;
	}
}

static void report_durable(struct doctor *doctor)
{
	static const char *const by[] = {
		[DAXPIN_GRANULARITY_BYTE] = "the store itself",
		[DAXPIN_GRANULARITY_CACHE_LINE] = "cache line write-back and a fence",
		[DAXPIN_GRANULARITY_PAGE] = "msync(), a page at a time",
	};
	const struct place *place = &doctor->place;
	bool dax = place->source == DAXPIN_SOURCE_DEVDAX ||
		   place->source == DAXPIN_SOURCE_FSDAX;
	uint32_t granularity = place->opened ? place->info.granularity :
		dax ? DAXPIN_GRANULARITY_CACHE_LINE : DAXPIN_GRANULARITY_PAGE;

	if (place->source == DAXPIN_SOURCE_SHMEM)
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_DURABLE, .verdict = VERDICT_NO,
		}, "no store is durable: this memory loses its contents with the power");
	else
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_DURABLE, .verdict = VERDICT_YES,
			.needed = true,
		}, "by %s", by[granularity]);
}

void doctor_place(struct doctor *doctor)
{
	report_pool(doctor);
	report_status(doctor);
	report_source(doctor);
	report_durable(doctor);
}
