/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An extent is retired while a read into it is in flight. Its blocks are not reused
 * before the read has completed, and can be reused right after that.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "narrate.h"
#include "reading.h"
#include "space.h"

#define PATTERN_NEW	0x44
#define WATCH_MS	300

struct demo {
	struct stage *stage;
	struct daxpin_pool *pool;
	struct daxpin_extent extent;
	struct source source;
	struct reading reading;
	struct free_space free_space;
};

static void print_ways(const struct demo *demo)
{
	struct daxpin_uring_info info = { .size = sizeof(info) };

	if (demo->stage->unsafe)
		return;
	must(daxpin_uring_info(demo->reading.uring, &info),
	     "daxpin_uring_info");
	fact("fixed_segments", info.fixed_segments);
	fact("plain_segments", info.plain_segments);
	print_event("ring", "a ring is attached: %u segments are its fixed buffers, %u get plain requests; slot %d of its file table keeps the owner lock",
		    info.fixed_segments, info.plain_segments, info.file_slot);
}

static void begin(struct demo *demo)
{
	char errmsg[256] = "";
	int err;

	must(daxpin_reserve(demo->pool, demo->source.bytes, 0, &demo->extent),
	     "daxpin_reserve");
	must(publish(demo->pool, demo->extent, DAXPIN_OP_KEEP, 0),
	     "daxpin_publish");
	err = reading_begin(&demo->reading, demo->pool, demo->extent,
			    &demo->source, demo->stage->unsafe, errmsg,
			    sizeof(errmsg));
	if (err) {
		/* The pool belongs to the user, so nothing may be left in it. */
		publish(demo->pool, demo->extent, DAXPIN_OP_RETIRE, 0);
		must(daxpin_pool_close(demo->pool), "daxpin_pool_close");
		give_up("%s (%s)", errmsg, strerror(-err));
	}
	print_ways(demo);
	fact("addr", demo->extent.addr);
	fact("bytes", demo->source.bytes);
	claim(reading_in_flight(&demo->reading), "submit",
	      "a read of %u bytes into the extent at 0x%" PRIx64 " is in flight, from %s",
	      demo->source.bytes, demo->extent.addr,
	      demo->stage->slow ? demo->stage->slow : "an empty pipe");
	claim(!publish(demo->pool, demo->extent, DAXPIN_OP_RETIRE, 0),
	      "retire", "the extent is retired during the read");
}

/* Waits for the read. One from a pipe needs data first. */
static void land(struct demo *demo)
{
	int result;

	source_release(&demo->source);
	result = reading_end(&demo->reading);
	demo->stage->read_ns = now_ns() - demo->reading.begin_ns;
	fact("us", demo->stage->read_ns / 1000);
	claim(result == (int)demo->source.bytes, "land",
	      "the read completes after %.1f ms: %d bytes",
	      (double)demo->stage->read_ns / 1e6, result);
}

static bool still_in_flight(struct demo *demo)
{
	if (reading_in_flight(&demo->reading))
		return true;
	print_event("fast", "the read ended too early to show anything: --slow needs a disk whose reads take 300 ms or more");
	return false;
}

static void run_safe(struct demo *demo)
{
	const uint64_t addr = demo->extent.addr;
	struct daxpin_extent extent;
	uint64_t overlap, wrong;
	int err, holds;

	holds = print_holders(demo->pool, demo->extent);
	free_space_reserve(&demo->free_space, demo->pool);
	overlap = free_space_overlap(&demo->free_space, addr, demo->source.bytes);
	err = daxpin_reserve(demo->pool, DAXPIN_BLOCK_SIZE, 0, &extent);
	fact("bytes", demo->free_space.bytes);
	claim(still_in_flight(demo) && holds == 1 && !overlap &&
	      err == -ENOSPC && !daxpin_idle(demo->pool, demo->extent),
	      "deferred", "the extent is not idle; all %" PRIu64 " other free bytes are reserved, and its blocks are not among them",
	      demo->free_space.bytes);
	land(demo);
	must(daxpin_wait_idle(demo->pool, demo->extent, 0), "daxpin_wait_idle");
	must(daxpin_reserve(demo->pool, demo->source.bytes, 0, &extent),
	     "daxpin_reserve");
	claim(extent.addr == addr, "reuse",
	      "after the completion it is idle, and a reserve gets its blocks, at 0x%" PRIx64,
	      extent.addr);
	pattern_fill(daxpin_ptr(demo->pool, extent, 0), demo->source.bytes,
		     PATTERN_NEW);
	sleep_ms(WATCH_MS);
	wrong = pattern_wrong(daxpin_ptr(demo->pool, extent, 0),
			      demo->source.bytes, PATTERN_NEW);
	claim(!wrong, "intact",
	      "%d ms later the new extent's bytes are intact: %" PRIu64 " of %u",
	      WATCH_MS, demo->source.bytes - wrong, demo->source.bytes);
	must(daxpin_cancel(demo->pool, extent), "daxpin_cancel");
}

static void run_unsafe(struct demo *demo)
{
	const uint64_t addr = demo->extent.addr;
	const uint32_t bytes = demo->source.bytes;
	uint64_t wrong, overlap;
	bool before;

	free_space_reserve(&demo->free_space, demo->pool);
	overlap = free_space_overlap(&demo->free_space, addr, bytes);
	free_space_fill(&demo->free_space, addr, bytes, PATTERN_NEW);
	wrong = free_space_wrong(&demo->free_space, addr, bytes, PATTERN_NEW);
	before = still_in_flight(demo) && !wrong;
	print_event("reuse", "daxpin does not know of the read, so the next reserve gets %" PRIu64 " of the %u bytes, and the program fills them",
		    overlap, bytes);
	land(demo);
	wrong = free_space_wrong(&demo->free_space, addr, bytes, PATTERN_NEW);
	demo->stage->corrupted = before ? wrong : 0;
	fact("corrupted_bytes", wrong);
	claim(before && wrong, "corrupted",
	      "%" PRIu64 " of the new extent's bytes are destroyed, and no call reports an error",
	      wrong);
}

void demo_uring(struct stage *stage)
{
	struct demo demo = { .stage = stage };

	print_section("io_uring", "an extent of %s is retired while a read into it is in flight%s",
		      stage->pool_path,
		      stage->unsafe ? ", without daxpin's protection" : "");
	demo.pool = open_pool(stage, 5000);
	source_open(&demo.source, stage);
	begin(&demo);
	if (stage->unsafe)
		run_unsafe(&demo);
	else
		run_safe(&demo);
	free_space_release(&demo.free_space);
	reading_close(&demo.reading);
	source_close(&demo.source);
	close_pool(demo.pool);
}
