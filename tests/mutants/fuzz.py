# SPDX-License-Identifier: BSD-3-Clause
"""Bugs that the fuzzers' saved inputs must catch when each runs once: in what an open
accepts as a pool, and in what the calls return."""

KEPT = '../source/tests/fuzz/'
IMAGE = ['tests/fuzz/replay_image', KEPT + 'seeds/image',
         KEPT + 'regressions/image']
CALLS = ['tests/fuzz/replay_calls', KEPT + 'seeds/calls',
         KEPT + 'regressions/calls']

MUTANTS = [
    # ----------------------------------------------------- what a pool may be
    ('image-degraded-stale-root', IMAGE, 'lib/core/recover.c',
     'a degraded open reuses what a root on media still names',
     '''	if (!ret && !pool->media.readonly)
		ret = dp_roots_write_gone''',
     '''	if (!ret && !pool->media.readonly && !pool->media.degraded)
		ret = dp_roots_write_gone'''),
    ('image-overlap', IMAGE, 'lib/media/table.c',
     'an extent may begin inside another',
     'overlap = overlap ? overlap : b;',
     'overlap = 0;'),
    ('image-past-the-end', IMAGE, 'lib/media/table.c',
     'an extent may end one block past the segment',
     'else if (word.blocks <= scan->table->blocks - block)',
     'else if (word.blocks <= scan->table->blocks - block + 1)'),
    ('image-last-word', IMAGE, 'lib/media/table.c',
     'the last word of a segment is not checked',
     'while (!ret && block < table->blocks)',
     'while (!ret && block < table->blocks - 1)'),
    ('image-bitmap-stored-unread', IMAGE, 'lib/media/table.c',
     'the page bitmap is stored to although it cannot be read',
     '''int ret = dp_badblocks_read(table->view, DP_PAGES_OFFSET, bitmap,
				    sizeof(bitmap));''',
     'int ret = sizeof(bitmap) ? 0 : -1;'),
    ('image-index', IMAGE, 'lib/pool/epoch.c',
     'a later segment may be any segment of the pool',
     'if (super->index == index && super->size', 'if (super->size'),
    ('image-no-segments', IMAGE, 'lib/pool/segment.c',
     'a pool may have no segments',
     '!super->segments || super->segments > DP_SEGMENTS_MAX',
     'super->segments > DP_SEGMENTS_MAX'),
    ('image-segment-set', IMAGE, 'lib/media/super.c',
     'the segment set is not compared with their number',
     '(i < super->segments))\n			return false;',
     '(i < super->segments))\n			return true;'),
    ('image-flags', IMAGE, 'lib/pool/pool.c',
     'flags of a newer version are ignored',
     'if (super->flags & ~DP_SUPER_FLAGS)',
     'if (super->flags & ~DP_SUPER_FLAGS & 0)'),
    ('image-word-check', IMAGE, 'lib/media/layout.h',
     'a word with the check of another block is accepted',
     'return dp_word_check(seed, block, raw & DP_WORD_BODY) << DP_WORD_CHECK_SHIFT;',
     'return dp_word_check(seed, 0 * block, raw & DP_WORD_BODY) << DP_WORD_CHECK_SHIFT;'),
    ('image-lane-target', IMAGE, 'lib/core/recover.c',
     'a lane may write anywhere in chunk 0',
     '''		return dp_table_accepts(table, offset, entry->value);''',
     '''		return true;'''),
    ('image-lane-page', IMAGE, 'lib/media/table.c',
     'a lane may have a word of a page that is not in use',
     'if (table->pages && !dp_pages_is_used(',
     'if (!table->pages && !dp_pages_is_used('),
    ('image-pages-check', IMAGE, 'lib/media/layout.c',
     'a word of the page bitmap that fails its check is accepted',
     'return raw == dp_pages_encode(seed, block, *ret_bits);',
     'return raw || !dp_pages_encode(seed, block, *ret_bits);'),
    ('image-pages-end', IMAGE, 'lib/media/pages.c',
     'the page bitmap may have pages past the end of the table',
     'if (bits && first + 63 - __builtin_clzll(bits) >= pages->count)',
     'if (bits && first + 63 - __builtin_clzll(bits) >= DP_PAGES_MAX)'),
    ('image-pages-read', IMAGE, 'lib/media/table.c',
     'the contents of a page that is not in use are read',
     '''	while ((page = dp_pages_next(table->pages, page)) < dp_table_pages(table)) {
		uint32_t block = page++''',
     '''	for (; page < dp_table_pages(table); page++) {
		uint32_t block = page'''),
    ('image-pages-bad', IMAGE, 'lib/media/table.c',
     'a pool opens although a page that is not in use is known to be bad',
     'return ret ? ret : table_find_bad_pages(table, tolerant, errmsg);',
     'return ret ? ret : 0 * (int)sizeof(table_find_bad_pages(table, 0, errmsg));'),
    ('image-large-table', IMAGE, 'lib/media/layout.h',
     'the table of a segment of 1 GiB begins in chunk 0',
     '''	return segment_size > DP_SMALL_SEGMENT_MAX ? DP_CHUNK_SIZE :
						     DP_TABLE_OFFSET;''',
     '''	return segment_size > DP_SMALL_SEGMENT_MAX ? DP_TABLE_OFFSET :
						     DP_TABLE_OFFSET;'''),
    ('image-set-check', IMAGE, 'lib/media/layout.c',
     'a segment set that fails its check is accepted',
     'return super->version != DP_VERSION ||',
     'return super->version == DP_VERSION ||'),
    ('image-lane-unaligned', IMAGE, 'lib/core/recover.c',
     'a lane may write to an odd address',
     'if (entry->addr % 8 || index', 'if (index'),
    ('image-lane-not-replayed', IMAGE, 'lib/core/recover.c',
     'what a lane committed is visible, but never written',
     '''		ret = dp_lanes_recover(&pool->lanes, epoch);''',
     '''		ret = 0;'''),
    ('image-root-check', IMAGE, 'lib/media/root.c',
     'a root may have a name that fails its check',
     'if (media->name_check !=', 'if (0 && media->name_check !='),
    ('image-early-store', IMAGE, 'lib/core/recover.c',
     'lanes are replayed before the rest has been checked',
     '''	if (!ret)
		ret = recover_load_lanes(pool, errmsg);
''',
     '''	if (!ret)
		ret = recover_load_lanes(pool, errmsg);
	if (!ret && !pool->media.readonly)
		ret = dp_lanes_recover(&pool->lanes,
				       dp_epochs_next(&pool->media.epochs));
'''),
    ('image-hole', IMAGE, 'lib/core/recover.c',
     'chunks without backing store are allocated',
     '''		if (space && flags & (DP_CHUNK_BACKED | DP_CHUNK_WANTED))
			continue;''',
     '''		if (space)
			continue;'''),
    ('image-leak', IMAGE, 'lib/pool/pool.c',
     'a refused open leaves the file open',
     '''	dp_badblocks_fini(&pool->badblocks);
	dp_file_close(&pool->first);''',
     '''	dp_badblocks_fini(&pool->badblocks);'''),
    # ------------------------------------------------------ what calls return
    ('calls-stale-hold', CALLS, 'lib/extent/state_word.h',
     'a hold by the handle of an earlier generation succeeds',
     '''	if (dp_word_generation(word) != generation)
		return -ESTALE;
	if (dp_word_is_usable''',
     '''	(void)generation;
	if (dp_word_is_usable'''),
    ('calls-epoch', CALLS, 'lib/core/recover.c',
     'handles of an earlier open are valid',
     '''	pool->gen_epoch = pool->epoch << DP_GENERATION_BITS;''',
     '''	pool->gen_epoch = 0;'''),
    ('calls-slab-has-address', CALLS, 'lib/extent/state.h',
     'the extent of a slab has an address for a handle that no call returned',
     '(dp_word_state(word) == DP_STATE_RETIRED && dp_word_count(word))',
     'dp_word_state(word) == DP_STATE_RETIRED'),
    ('calls-root-in-metadata', CALLS, 'lib/api/publish.c',
     'a root may name an address in the metadata as an object',
     '(block & pool->segment_mask) >= pool->meta_blocks;',
     '(block & pool->segment_mask) < pool->block_end;'),
    ('calls-grown-gate-open', CALLS, 'lib/extent/gate.c',
     'a drain closes no gate of a segment that is added later',
     'i < gates->gate_count; i++)\n		dp_gate_close(gates, i);',
     'i < gates->gate_count / 2; i++)\n		dp_gate_close(gates, i);'),
    ('calls-writers', CALLS, 'lib/extent/state.c',
     'KEEP succeeds while a write hold exists',
     '(no_writers && word & DP_WORD_WRITERS)', '(no_writers && 0)'),
    ('calls-rooted-retire', CALLS, 'lib/core/publish.c',
     'RETIRE of an extent that a root names succeeds',
     'return left ? -EBUSY : 0;', 'return 0 * left;'),
    ('calls-word-twice', CALLS, 'lib/core/publish.c',
     'a batch may change one word twice',
     'batch_has_set(batch, addr))', 'batch_has_set(batch, addr) && 0)'),
    ('calls-event-lost', CALLS, 'lib/extent/state.c',
     'the last drop queues no event',
     'if (was & DP_WORD_WAITERS && !(now & DP_WORD_WAITERS))', 'if (0)'),
    ('calls-close-held', CALLS, 'lib/api/pool.c',
     'a pool closes although it is registered',
     'if (pool_is_busy(pool) || dp_registration_count(&pool->holders) ||',
     'if (pool_is_busy(pool) ||'),
    ('calls-retired-gen', CALLS, 'lib/core/publish.c',
     'RETIRE writes the old generation, which is used again after an open',
     'uint64_t gen = step->handle.generation + 1;',
     'uint64_t gen = step->handle.generation;'),
    ('calls-cleared-root', CALLS, 'lib/media/root.c',
     'a name that was removed keeps its slot',
     '''	} else {
		root_free(roots, slot);
	}''',
     '''	} else {
		root_set_word(roots, slot, word);
		root_end_claim(roots, slot, false);
	}'''),
]
