/* SPDX-License-Identifier: BSD-3-Clause */
/* What a pool depends on outside its memory: limits, other drivers, the power. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>
#include "doctor.h"
#include "ublk.h"

/* Descriptors that a pool needs in addition to one for each segment. */
#define SPARE	16u

/* --------------------------------------------------------------- descriptors */

static void report_descriptors(struct doctor *doctor)
{
	uint64_t segments = doctor->place.segments ? doctor->place.segments : 1;
	struct answer answer = {
		.subject = SUBJECT_DESCRIPTORS, .verdict = VERDICT_YES,
		.needed = true,
	};
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < segments + SPARE) {
		answer.verdict = VERDICT_NO;
		answer.remedy = "raise RLIMIT_NOFILE (ulimit -n; systemd: LimitNOFILE=), or create the pool with a larger segment_size";
	}
	doctor_report(doctor, answer,
		      "%" PRIu64 " for each process; %s of %" PRIu64 " segment(s) needs %" PRIu64 ", and all open pools of a user together can have as many segments as the limit (more is ETOOMANYREFS)",
		      (uint64_t)limit.rlim_cur, doctor->place.segments ?
		      "the pool" : "a pool", segments, segments + SPARE);
}

/* ---------------------------------------------------------- memory for tables */

/* The memory that the library needs (daxpin(7), LIMITS): for each TiB of a pool, and
 * for each block of it that was ever in use. */
#define TABLES_PER_TIB		(UINT64_C(50) << 20)
#define TABLES_PER_BLOCK	UINT64_C(20)

static uint64_t machine_memory(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
}

static void report_tables(struct doctor *doctor)
{
	uint64_t size = doctor->place.media_bytes, memory = machine_memory();
	uint64_t empty = size / MIB * TABLES_PER_TIB / MIB;
	uint64_t full = empty + size / DAXPIN_BLOCK_SIZE * TABLES_PER_BLOCK;
	struct answer answer = {
		.subject = SUBJECT_TABLES, .verdict = VERDICT_YES,
		.needed = empty > memory,
	};

	if (!size)
		return;
	if (full > memory) {
		answer.verdict = empty > memory ? VERDICT_NO : VERDICT_UNKNOWN;
		answer.remedy = "use larger extents, or smaller pools: the tables grow with the blocks that were in use";
	}
	doctor_report(doctor, answer,
		      "an open of %" PRIu64 " MiB needs %" PRIu64 " KiB of memory for its tables, and at most %" PRIu64 " KiB when all blocks have been in use; the machine has %" PRIu64 " MiB; a pool has at most %u TiB",
		      size / MIB, empty >> 10, full >> 10, memory / MIB,
		      (unsigned int)(DAXPIN_SEGMENTS_MAX *
				     (uint64_t)DAXPIN_SEGMENT_MAX >> 40));
}

/* --------------------------------------------------------------------- ublk */

static void report_no_ublk(struct doctor *doctor)
{
	int files = ublk_count_files();
	struct answer answer = {
		.subject = SUBJECT_UBLK,
		.verdict = files ? VERDICT_UNKNOWN : VERDICT_YES,
	};

	if (!files) {
		doctor_report(doctor, answer,
			      "the machine has no ublk device, so none has this memory pinned");
		return;
	}
	answer.remedy = "end the processes that have a file /dev/ublk* open before the pool is opened again";
	if (files < 0)
		doctor_report(doctor, answer,
			      "the machine has no ublk device, but the kernel does not show whether a process has a deleted one open, which keeps its pins");
	else
		doctor_report(doctor, answer,
			      "the machine has no ublk device, but %d file(s) of the driver are open: a deleted device keeps its pins until it is closed",
			      files);
}

/* Only for memory that allows long-term pins: device-dax and shmem. */
static void report_ublk(struct doctor *doctor)
{
	struct answer answer = {
		.subject = SUBJECT_UBLK, .verdict = VERDICT_UNKNOWN,
		.remedy = "give no memory of a pool to a ublk server; if a server has ended, delete its device before the pool is opened again",
	};
	int count = ublk_count_devices();

	if (doctor->place.source != DAXPIN_SOURCE_DEVDAX &&
	    doctor->place.source != DAXPIN_SOURCE_SHMEM)
		return;
	if (!count)
		report_no_ublk(doctor);
	else if (count < 0)
		doctor_report(doctor, answer,
			      "/sys is not mounted, so whether there are ublk devices is unknown");
	else
		doctor_report(doctor, answer,
			      "there are %d ublk device(s): the kernel does not show which memory they have pinned, and from Linux 7.1 on a device with UBLK_F_SHMEM_ZC keeps its pins when its server ends",
			      count);
}

/* ---------------------------------------------------------- dirty shutdowns */

static void report_shutdowns(struct doctor *doctor)
{
	const struct place *place = &doctor->place;
	struct answer answer = { .subject = SUBJECT_SHUTDOWNS };

	if (place->source != DAXPIN_SOURCE_DEVDAX &&
	    place->source != DAXPIN_SOURCE_FSDAX)
		return;
	if (place->opened && place->info.dirty_shutdown == DAXPIN_NO) {
		answer.verdict = VERDICT_YES;
		answer.needed = true;
		doctor_report(doctor, answer,
			      "the NVDIMMs count them, and none happened while the pool was open");
	} else if (place->opened && place->info.dirty_shutdown == DAXPIN_YES) {
		answer.verdict = VERDICT_NO;
		answer.needed = true;
		answer.remedy = "check what is in the pool's extents, or restore a backup";
		doctor_report(doctor, answer,
			      "power failed while the pool was open, before all that was durable had reached the NVDIMMs");
	} else {
		answer.verdict = VERDICT_UNKNOWN;
		answer.remedy = "a program that must not open a pool which may lack durable data opens it with DAXPIN_POOL_NEED_FLUSHED";
		doctor_report(doctor, answer, place->opened ?
			      "sysfs shows no count for the pool's NVDIMMs (/sys/bus/nd/devices/nmem*/nfit/dirty_shutdown), or showed none when the pool was opened" :
			      "an open records their count in the pool, and no pool could be opened here");
	}
}

void doctor_outside(struct doctor *doctor)
{
	report_descriptors(doctor);
	report_tables(doctor);
	report_ublk(doctor);
	report_shutdowns(doctor);
}
