/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "machine/machine.h"
#include "media.h"
#include "schedule.h"

#define LINE		64u
#define LINES		((MEDIA_SIZE_MAX + LINE - 1) / LINE)

_Thread_local uint32_t media_actor;
uint64_t media_sum;
uint64_t media_segment_size;

static char *base;
static uint64_t inodes_offset, media_size, last_size;
static struct media_trace *current;
/* Lines stored since they were last flushed, for watched traces. */
static uint64_t dirty[(LINES + 63) / 64];
static bool flushed[MEDIA_ACTORS];	/* since this actor's last fence */
/* The metadata according to a watched trace. */
static char shadow[MEDIA_SEGMENTS][DP_CHUNK_SIZE];

char *media_base(void)
{
	return base;
}

/* ------------------------------------------------------------------ traces */

void media_begin(struct media_trace *trace, bool watched)
{
	trace->events = 0;
	trace->changes = 0;
	trace->outer = current;
	trace->watched = watched;
	current = trace;
	if (!watched)
		return;
	memset(dirty, 0, sizeof(dirty));
	memset(flushed, 0, sizeof(flushed));
	for (uint32_t s = 0; s < MEDIA_SEGMENTS; s++)
		memcpy(shadow[s], base + s * media_segment_size, DP_CHUNK_SIZE);
}

void media_end(struct media_trace *trace)
{
	assert(current == trace);
	current = trace->outer;
}

void media_rewind(const struct media_trace *trace)
{
	for (uint32_t i = trace->changes; i--;)
		media_poke(trace->change[i].word, trace->change[i].was);
}

uint32_t media_events(void)
{
	return current ? current->events : 0;
}

void media_trace_free(struct media_trace *trace)
{
	free(trace->event);
	free(trace->change);
	memset(trace, 0, sizeof(*trace));
}

static void *grow(void *array, uint32_t *max, size_t size)
{
	*max = *max ? *max * 2 : 64;
	array = realloc(array, *max * size);
	if (!array) {
		perror("sim: no memory for a trace");
		exit(1);
	}
	return array;
}

static struct media_event *add_event(enum media_what what, const void *at,
				     uint64_t size)
{
	struct media_event *event;

	if (current->events == current->events_max)
		current->event = grow(current->event, &current->events_max,
				      sizeof(*current->event));
	event = &current->event[current->events++];
	*event = (struct media_event) {
		.what = what,
		.actor = media_actor,
		.offset = at ? (const char *)at - base : 0,
		.size = size,
		.first = current->changes,
	};
	assert(event->offset + size <= media_size);
	return event;
}

static void shadow_word(uint32_t word, uint64_t is)
{
	uint64_t segment = word * 8ull / media_segment_size;
	uint64_t at = word * 8ull % media_segment_size;

	if (segment < MEDIA_SEGMENTS && at < DP_CHUNK_SIZE)
		memcpy(shadow[segment] + at, &is, 8);
}

static void change_word(struct media_event *event, uint32_t word, uint64_t is)
{
	uint64_t *at = (uint64_t *)base + word;

	if (*at == is)
		return;
	if (current->changes == current->changes_max)
		current->change = grow(current->change, &current->changes_max,
				       sizeof(*current->change));
	current->change[current->changes++] =
		(struct media_change) { .was = *at, .is = is, .word = word };
	event->count++;
	if (current->watched)
		shadow_word(word, is);
	media_count(word, *at, is);
	/* Like the library: other threads may read the word. */
	__atomic_store_n(at, is, __ATOMIC_RELEASE);
}

/* ------------------------------------------------------------------ events */

static bool line_is_dirty(uint64_t line)
{
	return dirty[line / 64] >> line % 64 & 1;
}

static void mark_lines(uint64_t offset, uint64_t size)
{
	for (uint64_t l = offset / LINE; l <= (offset + size - 1) / LINE; l++)
		dirty[l / 64] |= 1ull << l % 64;
}

/* The bytes of a word in [offset, end) are those of `from`, the others unchanged. */
static uint64_t mix_word(uint32_t word, uint64_t offset, uint64_t end,
			 const char *from)
{
	char bytes[8];

	memcpy(bytes, base + word * 8ull, 8);
	for (unsigned int i = 0; i < 8; i++) {
		uint64_t at = word * 8ull + i;

		if (at >= offset && at < end)
			bytes[i] = from ? from[at - offset] : 0;
	}
	return *(uint64_t *)memcpy(&(uint64_t) { 0 }, bytes, 8);
}

void media_store(void *to, const void *from, uint64_t size)
{
	uint64_t offset = (char *)to - base, end = offset + size;
	struct media_event *event;

	assert(size && end <= media_size);
	if (!current) {		/* before the machine is recorded */
		from ? memcpy(to, from, size) : memset(to, 0, size);
		return;
	}
	event = add_event(MEDIA_STORE, to, size);
	for (uint32_t word = offset / 8; word * 8ull < end; word++) {
		uint64_t is = 0;

		if (word * 8ull < offset || word * 8ull + 8 > end)
			is = mix_word(word, offset, end, from);
		else if (from)
			memcpy(&is, (const char *)from + (word * 8ull - offset),
			       8);
		change_word(event, word, is);
	}
	if (current->watched)
		mark_lines(offset, size);
}

void media_flush(const void *from, uint64_t size)
{
	struct media_event *event;

	assert(size);
	if (!current)
		return;
	event = add_event(MEDIA_FLUSH, from, size);
	if (!current->watched)
		return;
	flushed[media_actor] = true;
	for (uint64_t l = event->offset / LINE;
	     l <= (event->offset + size - 1) / LINE; l++) {
		event->lines += line_is_dirty(l);
		dirty[l / 64] &= ~(1ull << l % 64);
	}
	event->useless = !event->lines && event->offset < inodes_offset;
}

void media_fence(void)
{
	struct media_event *event;

	if (!current)
		return;
	event = add_event(MEDIA_FENCE, NULL, 0);
	if (!current->watched)
		return;
	event->useless = !flushed[media_actor];
	flushed[media_actor] = false;
}

/* --------------------------------------------- stores that bypass persist */

bool media_is_recorded(uint64_t *ret_offset)
{
	for (uint32_t s = 0; s < MEDIA_SEGMENTS; s++) {
		const char *now = base + s * media_segment_size;

		if (!memcmp(now, shadow[s], DP_CHUNK_SIZE))
			continue;
		for (uint64_t at = 0; at < DP_CHUNK_SIZE; at += 8)
			if (memcmp(now + at, shadow[s] + at, 8)) {
				*ret_offset = s * media_segment_size + at;
				return false;
			}
	}
	return true;
}

const char *media_place(uint64_t offset, char text[80])
{
	uint64_t segment = offset / media_segment_size;
	uint64_t at = offset % media_segment_size;
	unsigned long long low = at;
	const char *what = "payload";

	if (offset >= inodes_offset)
		return strcpy(text, "inode");
	if (at < DP_SUPER_SIZE)
		what = "superblock";
	else if (at < DP_PAGES_OFFSET + DP_PAGES_WORDS * 8)
		what = "page bitmap";
	else if (at >= DP_TABLE_OFFSET && at < DP_COPY_OFFSET)
		what = "table";
	else if (at >= DP_COPY_OFFSET && at < DP_COPY_OFFSET + DP_SUPER_SIZE)
		what = "superblock copy";
	else if (at >= DP_ROOTS_OFFSET && at < DP_LANES_OFFSET)
		what = "roots";
	else if (at >= DP_LANES_OFFSET && at < DP_LANES_END)
		what = "lanes";
	else if (at < DP_CHUNK_SIZE)
		what = "zero area";
	snprintf(text, 80, "segment %u, %s, 0x%llx", (unsigned int)segment,
		 what, low);
	return text;
}

/* ------------------------------------------------------------- the machine */

/* The kernel is an actor of its own: its fences order no other actor's stores. */
static void media_kernel(bool begins)
{
	static _Thread_local uint32_t before;

	if (begins)
		before = media_actor;
	media_actor = begins ? MEDIA_KERNEL : before;
}

uint64_t media_last_size(void)
{
	return last_size;
}

uint64_t media_pool_size(uint32_t segments)
{
	return (segments - 1) * media_segment_size + last_size;
}

void media_init(bool has_short)
{
	static const struct machine_observer observer = {
		.turn = schedule_point, .wait = schedule_wait,
		.store = media_store, .flush = media_flush,
		.fence = media_fence, .kernel = media_kernel,
	};

	last_size = MEDIA_SEGMENT_MIN;
	media_segment_size = has_short ? MEDIA_SEGMENT_MAX : MEDIA_SEGMENT_MIN;
	inodes_offset = MEDIA_SEGMENTS * media_segment_size;
	media_size = inodes_offset + MEDIA_SEGMENTS * sizeof(struct machine_inode);
	machine_reset(machine_disk_new_in_place(MEDIA_SEGMENTS,
						media_segment_size));
	machine.kind = DP_SOURCE_FSDAX;
	machine_set_boot(0);		/* each restart counts it up */
	machine.observer = &observer;
	base = machine.disk->memory;
}
