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

struct tale {
	struct stage *stage;
	struct daxpin_pool *pool;
	struct daxpin_extent extent;
	struct source source;
	struct reading reading;
	struct hoard hoard;
};

static void tell_ways(const struct tale *tale)
{
	struct daxpin_uring_info info = { .size = sizeof(info) };

	if (tale->stage->unsafe)
		return;
	must(daxpin_uring_info(tale->reading.uring, &info),
	     "daxpin_uring_info");
	fact("fixed_segments", info.fixed_segments);
	fact("plain_segments", info.plain_segments);
	say("ring", "a ring is attached: %u segments are its fixed buffers, %u get plain requests; slot %d of its file table keeps the owner lock",
	    info.fixed_segments, info.plain_segments, info.file_slot);
}

static void begin(struct tale *tale)
{
	char errmsg[256] = "";
	int err;

	must(daxpin_reserve(tale->pool, tale->source.bytes, 0, &tale->extent),
	     "daxpin_reserve");
	must(publish(tale->pool, tale->extent, DAXPIN_OP_KEEP, 0),
	     "daxpin_publish");
	err = reading_begin(&tale->reading, tale->pool, tale->extent,
			    &tale->source, tale->stage->unsafe, errmsg,
			    sizeof(errmsg));
	if (err) {
		/* The pool belongs to the user, so nothing may be left in it. */
		publish(tale->pool, tale->extent, DAXPIN_OP_RETIRE, 0);
		must(daxpin_pool_close(tale->pool), "daxpin_pool_close");
		give_up("%s (%s)", errmsg, strerror(-err));
	}
	tell_ways(tale);
	fact("addr", tale->extent.addr);
	fact("bytes", tale->source.bytes);
	claim(reading_in_flight(&tale->reading), "submit",
	      "a read of %u bytes into the extent at 0x%" PRIx64 " is in flight, from %s",
	      tale->source.bytes, tale->extent.addr,
	      tale->stage->slow ? tale->stage->slow : "an empty pipe");
	claim(!publish(tale->pool, tale->extent, DAXPIN_OP_RETIRE, 0),
	      "retire", "the extent is retired during the read");
}

/* Waits for the read. One from a pipe needs data first. */
static void land(struct tale *tale)
{
	int result;

	source_release(&tale->source);
	result = reading_end(&tale->reading);
	tale->stage->read_ns = now_ns() - tale->reading.begin_ns;
	fact("us", tale->stage->read_ns / 1000);
	claim(result == (int)tale->source.bytes, "land",
	      "the read completes after %.1f ms: %d bytes",
	      (double)tale->stage->read_ns / 1e6, result);
}

static bool still_in_flight(struct tale *tale)
{
	if (reading_in_flight(&tale->reading))
		return true;
	say("fast", "the read ended too early to show anything: --slow needs a disk whose reads take 300 ms or more");
	return false;
}

static void tell_safe(struct tale *tale)
{
	const uint64_t addr = tale->extent.addr;
	struct daxpin_extent extent;
	uint64_t overlap, wrong;
	int err, holds;

	holds = tell_holders(tale->pool, tale->extent);
	hoard_take(&tale->hoard, tale->pool);
	overlap = hoard_overlap(&tale->hoard, addr, tale->source.bytes);
	err = daxpin_reserve(tale->pool, DAXPIN_BLOCK_SIZE, 0, &extent);
	fact("bytes", tale->hoard.bytes);
	claim(still_in_flight(tale) && holds == 1 && !overlap &&
	      err == -ENOSPC && !daxpin_idle(tale->pool, tale->extent),
	      "deferred", "the extent is not idle; all %" PRIu64 " other free bytes are reserved, and its blocks are not among them",
	      tale->hoard.bytes);
	land(tale);
	must(daxpin_wait_idle(tale->pool, tale->extent, 0), "daxpin_wait_idle");
	must(daxpin_reserve(tale->pool, tale->source.bytes, 0, &extent),
	     "daxpin_reserve");
	claim(extent.addr == addr, "reuse",
	      "after the completion it is idle, and a reserve gets its blocks, at 0x%" PRIx64,
	      extent.addr);
	pattern_fill(daxpin_ptr(tale->pool, extent, 0), tale->source.bytes,
		     PATTERN_NEW);
	sleep_ms(WATCH_MS);
	wrong = pattern_wrong(daxpin_ptr(tale->pool, extent, 0),
			      tale->source.bytes, PATTERN_NEW);
	claim(!wrong, "intact",
	      "%d ms later the new extent's bytes are intact: %" PRIu64 " of %u",
	      WATCH_MS, tale->source.bytes - wrong, tale->source.bytes);
	must(daxpin_cancel(tale->pool, extent), "daxpin_cancel");
}

static void tell_unsafe(struct tale *tale)
{
	const uint64_t addr = tale->extent.addr;
	const uint32_t bytes = tale->source.bytes;
	uint64_t wrong, overlap;
	bool before;

	hoard_take(&tale->hoard, tale->pool);
	overlap = hoard_overlap(&tale->hoard, addr, bytes);
	hoard_fill(&tale->hoard, addr, bytes, PATTERN_NEW);
	wrong = hoard_wrong(&tale->hoard, addr, bytes, PATTERN_NEW);
	before = still_in_flight(tale) && !wrong;
	say("reuse", "daxpin does not know of the read, so the next reserve gets %" PRIu64 " of the %u bytes, and the program fills them",
	    overlap, bytes);
	land(tale);
	wrong = hoard_wrong(&tale->hoard, addr, bytes, PATTERN_NEW);
	tale->stage->corrupted = before ? wrong : 0;
	fact("corrupted_bytes", wrong);
	claim(before && wrong, "corrupted",
	      "%" PRIu64 " of the new extent's bytes are destroyed, and no call reports an error",
	      wrong);
}

void story_uring(struct stage *stage)
{
	struct tale tale = { .stage = stage };

	story("io_uring", "an extent of %s is retired while a read into it is in flight%s",
	      stage->pool_path,
	      stage->unsafe ? ", without daxpin's protection" : "");
	tale.pool = open_pool(stage, 5000);
	source_open(&tale.source, stage);
	begin(&tale);
	if (stage->unsafe)
		tell_unsafe(&tale);
	else
		tell_safe(&tale);
	hoard_release(&tale.hoard);
	reading_close(&tale.reading);
	source_close(&tale.source);
	close_pool(tale.pool);
}
