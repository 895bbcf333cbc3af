/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an RDMA device makes of this memory: pinned regions, on-demand regions,
 * memory windows. Transfers go to scratch memory alone; a device-dax node is
 * registered and let go.
 *
 * Of memory windows no more is tried than soft-RoCE survives: a window is made
 * after its queue pairs, is never invalidated (twice is a kernel panic), and is
 * freed before anything that it depends on (a queue pair with a bound window
 * takes 50 s to die).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "doctor.h"
#include "doctor_wire.h"

#define REGION		(16 * PAGE)	/* of memory that is written through */
#define OFFSET		1234		/* into it: not the start of a page */
#define ACCESS		(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | \
			 IBV_ACCESS_REMOTE_READ)

/* ------------------------------------------------ does it arrive as it was? */

struct selftest {
	int status;			/* ibv_wc_status of what failed first,
					   or -errno */
	uint64_t wrong_written, wrong_read;
};

static void pattern(unsigned char *bytes, size_t size, unsigned int seed)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (i * 167 + (i >> 8) * 59 + seed) & 0xff;
}

static uint64_t differences(const unsigned char *a, const unsigned char *b,
			    size_t size)
{
	uint64_t count = 0;

	for (size_t i = 0; i < size; i++)
		count += a[i] != b[i];
	return count;
}

/* Write several packets into the middle of it, look at all of it, read back. */
static void run_selftest(struct wire *wire, const struct ibv_mr *mr,
			 struct selftest *ret_test)
{
	unsigned char *memory = mr->addr, *expected = malloc(REGION);
	struct selftest test = { .status = -ENOMEM };

	if (!expected)
		goto out;
	pattern(memory, REGION, 1);
	pattern(wire_source(wire), WIRE_BYTES, 2);
	memcpy(expected, memory, REGION);
	memcpy(expected + OFFSET, wire_source(wire), WIRE_BYTES);
	test.status = wire_write(wire, memory + OFFSET, mr->rkey, WIRE_BYTES);
	if (test.status)
		goto out;
	test.wrong_written = differences(memory, expected, REGION);
	/* A read is good if it shows what is there, right or wrong. */
	pattern(wire_sink(wire), WIRE_BYTES, 3);
	test.status = wire_read(wire, memory + OFFSET, mr->rkey, WIRE_BYTES);
	if (!test.status)
		test.wrong_read = differences(memory + OFFSET, wire_sink(wire),
					      WIRE_BYTES);
out:
	free(expected);
	*ret_test = test;
}

/* After an error both ends must begin anew. */
static void say_selftest(struct doctor *doctor, struct wire *wire,
			 struct answer answer, const struct selftest *test,
			 const char *remedy)
{
	bool good = !test->status && !test->wrong_written && !test->wrong_read;

	answer.verdict = good ? VERDICT_YES : VERDICT_NO;
	answer.remedy = good ? answer.remedy : remedy;
	if (test->status) {
		doctor_say(doctor, answer, "a transfer failed: %s",
			   test->status < 0 ? strerror(-test->status) :
			   ibv_wc_status_str(test->status));
		wire_connect(wire);
		return;
	}
	if (good)
		doctor_say(doctor, answer,
			   "%u bytes at an odd address were written and read back as they were",
			   WIRE_BYTES);
	else
		doctor_say(doctor, answer,
			   "corrupts: writing %u bytes to an odd address left %" PRIu64 " bytes wrong, reading them back got %" PRIu64 " wrong, both with a status of success",
			   WIRE_BYTES, test->wrong_written, test->wrong_read);
}

/* ----------------------------------------------------------- pinned regions */

static const char *pinned_remedy(const struct place *place, int error)
{
	if (error == ENOMEM)
		return "raise RLIMIT_MEMLOCK, or give CAP_IPC_LOCK";
	if (place->source == DAXPIN_SOURCE_FSDAX)
		return "use a device-dax pool for RDMA: no kernel allows it on a DAX filesystem";
	return "see the kernel's log";
}

static void say_pinned(struct doctor *doctor, struct wire *wire)
{
	const struct ground *ground = &doctor->ground;
	struct answer answer = {
		.subject = SUBJECT_PINNED_MR,
		.needed = doctor->place.source != DAXPIN_SOURCE_FSDAX,
	};
	struct selftest test;
	struct ibv_mr *mr;

	if (!ground->base) {
		doctor_say_no_ground(doctor, answer.subject, answer.needed);
		return;
	}
	mr = wire_region(wire, ground->base, CHUNK, ACCESS);
	if (!mr) {
		answer.verdict = VERDICT_NO;
		answer.remedy = pinned_remedy(&doctor->place, errno);
		doctor_say(doctor, answer, "2 MiB were refused: %s",
			   strerror(errno));
		return;
	}
	if (ground->scratch) {
		run_selftest(wire, mr, &test);
		say_selftest(doctor, wire, answer, &test, "see the kernel's log");
	} else {
		doctor_say(doctor, answer,
			   "2 MiB were registered, and not touched");
	}
	ibv_dereg_mr(mr);
}

/* -------------------------------------------------------- on-demand regions */

static bool has_odp(struct wire *wire)
{
	const uint32_t needed = IBV_ODP_SUPPORT_WRITE | IBV_ODP_SUPPORT_READ;
	struct ibv_device_attr_ex attr = { 0 };
	const struct ibv_odp_caps *caps = &attr.odp_caps;

	return !ibv_query_device_ex(wire->context, NULL, &attr) &&
	       caps->general_caps & IBV_ODP_SUPPORT &&
	       (caps->per_transport_caps.rc_odp_caps & needed) == needed;
}

/* A node's memory is not ours to write; what counts is the RDMA driver. */
static void *odp_memory(const struct ground *ground)
{
	if (ground->scratch)
		return ground->base;
	return aligned_alloc(PAGE, REGION);
}

static void try_odp(struct doctor *doctor, struct wire *wire,
		    struct answer answer, void *memory)
{
	const char *remedy = answer.needed ?
		"use a device-dax pool for RDMA: bytes would be lost here, and nobody told" :
		"pinned regions are used here";
	struct selftest test;
	struct ibv_mr *mr;
	int ret = ground_touch(memory, REGION, true);

	if (ret) {
		answer.verdict = VERDICT_UNKNOWN;
		answer.remedy = "see the kernel's log: is the medium bad?";
		doctor_say(doctor, answer, "it cannot be touched: %s",
			   strerror(-ret));
		return;
	}
	mr = wire_region(wire, memory, REGION, ACCESS | IBV_ACCESS_ON_DEMAND);
	if (!mr) {
		answer.verdict = VERDICT_NO;
		answer.remedy = remedy;
		doctor_say(doctor, answer, "refused: %s", strerror(errno));
		return;
	}
	run_selftest(wire, mr, &test);
	if (answer.needed)
		answer.remedy = "libdaxpin-rdma does not use it yet: take a device-dax pool for RDMA";
	say_selftest(doctor, wire, answer, &test, remedy);
	ibv_dereg_mr(mr);
}

static void say_odp(struct doctor *doctor, struct wire *wire)
{
	struct answer answer = {
		.subject = SUBJECT_ODP, .verdict = VERDICT_NO,
		.needed = doctor->place.source == DAXPIN_SOURCE_FSDAX,
	};
	void *memory;

	if (!has_odp(wire)) {
		if (answer.needed)
			answer.remedy = "use a device-dax pool for RDMA, or a device with on-demand paging";
		doctor_say(doctor, answer,
			   "the device or its driver has no on-demand paging for reads and writes");
		return;
	}
	memory = odp_memory(&doctor->ground);
	if (!memory) {
		doctor_say_no_ground(doctor, answer.subject, answer.needed);
		return;
	}
	try_odp(doctor, wire, answer, memory);
	if (!doctor->ground.scratch)
		free(memory);
}

/* ----------------------------------------------------------- memory windows */

enum fence { FENCE_HOLDS, FENCE_LEAKS, FENCE_UNTRIED };

/* A window over the second page of four: does a write into the third arrive? */
static enum fence try_bound(struct wire *wire, const unsigned char *memory,
			    uint32_t rkey)
{
	unsigned char byte = memory[2 * PAGE];
	int status;

	*wire_source(wire) = ~byte;
	if (wire_write(wire, memory + PAGE, rkey, 1))
		return FENCE_UNTRIED;
	status = wire_write(wire, memory + 2 * PAGE, rkey, 1);
	if (memory[2 * PAGE] != byte)
		return FENCE_LEAKS;
	return status ? FENCE_HOLDS : FENCE_UNTRIED;
}

static enum fence try_window(struct wire *wire, unsigned char *memory)
{
	enum fence fence = FENCE_UNTRIED;
	struct ibv_mw *mw = NULL;
	struct ibv_mr *mr;
	uint32_t rkey;

	mr = wire_region(wire, memory, 4 * PAGE, IBV_ACCESS_LOCAL_WRITE |
			 IBV_ACCESS_MW_BIND);
	if (mr)
		mw = ibv_alloc_mw(wire->pd, IBV_MW_TYPE_2);
	if (mw) {
		rkey = ibv_inc_rkey(mw->rkey);
		if (!wire_bind(wire, mw, rkey, mr, memory + PAGE, PAGE))
			fence = try_bound(wire, memory, rkey);
		/* This ends the binding too. */
		ibv_dealloc_mw(mw);
	}
	if (mr)
		ibv_dereg_mr(mr);
	return fence;
}

static void say_window_fence(struct doctor *doctor, struct answer answer,
			     enum fence fence)
{
	static const char *const seen[] = {
		[FENCE_HOLDS] = "type 2; a write past the window was refused",
		[FENCE_LEAKS] = "type 2, but a write past the window, inside its region, arrived",
		[FENCE_UNTRIED] = "type 2, but none could be bound and written through",
	};

	answer.verdict = fence == FENCE_HOLDS ? VERDICT_YES :
			 fence == FENCE_LEAKS ? VERDICT_NO : VERDICT_UNKNOWN;
	doctor_say(doctor, answer, "%s", seen[fence]);
}

static void say_windows(struct doctor *doctor, struct wire *wire)
{
	const unsigned int type2 = IBV_DEVICE_MEM_WINDOW_TYPE_2A |
				   IBV_DEVICE_MEM_WINDOW_TYPE_2B;
	struct answer answer = {
		.subject = SUBJECT_WINDOWS, .verdict = VERDICT_NO,
		.remedy = "none is needed: each grant is a region of its own",
	};
	struct ibv_device_attr attr = { 0 };
	unsigned char *memory;

	if (ibv_query_device(wire->context, &attr) ||
	    !(attr.device_cap_flags & type2)) {
		doctor_say(doctor, answer, "the device has none of type 2");
		return;
	}
	memory = aligned_alloc(PAGE, 4 * PAGE);
	if (!memory)
		return;
	memset(memory, 0, 4 * PAGE);
	say_window_fence(doctor, answer, try_window(wire, memory));
	free(memory);
}

/* ---------------------------------------------------------------------- all */

static void say_unasked(struct doctor *doctor)
{
	char names[256];

	wire_list(names, sizeof(names));
	if (names[0])
		doctor_say(doctor, (struct answer) {
			.subject = SUBJECT_RDMA, .verdict = VERDICT_UNKNOWN,
			.remedy = "name one: --rdma DEVICE",
		}, "not tried; there are: %s", names);
	else
		doctor_say(doctor, (struct answer) {
			.subject = SUBJECT_RDMA, .verdict = VERDICT_NO,
		}, "this machine has no device");
}

static void say_unusable(struct doctor *doctor, int error)
{
	char names[256];

	wire_list(names, sizeof(names));
	doctor_say(doctor, (struct answer) {
		.subject = SUBJECT_RDMA, .verdict = VERDICT_NO,
		.needed = true,
		.remedy = "name one that is there, with a port that is up (rdma link)",
	}, "%s cannot be connected with itself: %s; there are: %s",
		   doctor->rdma, strerror(-error), names[0] ? names : "none");
}

void doctor_rdma(struct doctor *doctor)
{
	struct wire wire;
	int ret;

	if (!doctor->rdma) {
		say_unasked(doctor);
		return;
	}
	ret = wire_open(&wire, doctor->rdma);
	if (ret) {
		say_unusable(doctor, ret);
		wire_close(&wire);
		return;
	}
	doctor_say(doctor, (struct answer) {
		.subject = SUBJECT_RDMA, .verdict = VERDICT_YES,
		.needed = true,
	}, "%s, port %u, was connected with itself", doctor->rdma, wire.port);
	if (doctor->place.source == DAXPIN_SOURCE_DISK) {
		doctor_say(doctor, (struct answer) {
			.subject = SUBJECT_PINNED_MR, .verdict = VERDICT_NO,
		}, "not tried: page-cache pages lose what a device writes");
	} else {
		say_pinned(doctor, &wire);
		say_odp(doctor, &wire);
		say_windows(doctor, &wire);
	}
	wire_close(&wire);
}
