/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LLFree (luhsra/llfree-c) as a peer of bench_alloc: a lock-free allocator of page
 * frames for an operating system. It has no package, so this file is compiled with a
 * checkout:
 *
 *	clang -O2 -march=native -std=c11 -shared -fPIC -DSTD -w -I$LLFREE/include
 *		-I$LLFREE/src -I$LLFREE/std llfree.c $LLFREE/src/.c-files -o llfree.so
 *
 * ./dev bench does so if $LLFREE is the checkout. It is loaded and not linked, because
 * its headers compile only with clang.
 */
#include <llfree.h>
#include <llfree_inner.h>
#include <stdlib.h>

#define LL_ALIGN	4096

int llfree_peer_begin(size_t frames, size_t threads);
uint64_t llfree_peer_take(int order, size_t local);
int llfree_peer_give(uint64_t frame, int order, size_t local);

static llfree_t allocator;
static size_t locals;

static uint8_t *peer_memory(size_t size)
{
	return aligned_alloc(LL_ALIGN, (size + LL_ALIGN - 1) / LL_ALIGN *
				       LL_ALIGN);
}

/*
 * LLFree has a local reservation for each core, and here gets one for each thread. If
 * it had more reservations than trees of frames, it would take ten times as long.
 */
int llfree_peer_begin(size_t frames, size_t threads)
{
	llfree_classing_t classing = llfree_classing_simple(threads);
	llfree_meta_size_t size = llfree_metadata_size(&classing, frames);
	llfree_meta_t memory = {
		peer_memory(size.local), peer_memory(size.trees),
		peer_memory(size.lower),
	};

	locals = threads;
	if (!memory.local || !memory.trees || !memory.lower)
		return -1;
	return llfree_is_ok(llfree_init(&allocator, frames, LLFREE_INIT_FREE,
					memory, &classing)) ? 0 : -1;
}

/* Returns the frame's number, or UINT64_MAX if there is none. */
uint64_t llfree_peer_take(int order, size_t local)
{
	llfree_result_t result =
		llfree_get(&allocator, frame_id_none(),
			   llfree_simple_request(locals, order, local));

	return llfree_is_ok(result) ? result.frame.value : UINT64_MAX;
}

int llfree_peer_give(uint64_t frame, int order, size_t local)
{
	llfree_result_t result =
		llfree_put(&allocator, frame_id(frame),
			   llfree_simple_request(locals, order, local));

	return llfree_is_ok(result) ? 0 : -1;
}
