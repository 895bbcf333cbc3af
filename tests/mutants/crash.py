# SPDX-License-Identifier: BSD-3-Clause
"""Bugs that the crash simulator must catch: in the order in which stores reach the
medium, in what a recovery accepts, and in when memory is changed."""

# A sample of the states of each kind catches most bugs; the others need as many states
# of one kind as the usual run tries.
SIM = ['tests/sim/sim', '--stop', '--states', '400']
RDMA = ['tests/sim/sim', '--stop', '--kind', 'rdma']
PAGE = ['tests/sim/sim', '--stop', '--kind', 'keep-page']
# Only a few orders of three actors show these bugs.
PAGE_TOGETHER = ['tests/sim/sim', '--stop', '--kind', 'together-page']
OBJECTS = ['tests/sim/sim', '--stop', '--states', '400', '--kind', 'object-*']
OBJECTS_TOGETHER = ['tests/sim/sim', '--stop', '--kind', 'together-objects']

SHORT = ['tests/sim/sim', '--stop', '--states', '400', '--kind', 'short-*']

MUTANTS = [
    # --------------------------------------------------------- a short segment
    ('short-is-always-the-last', SHORT, 'lib/pool/segment.c',
     'after a grow the new segment is taken for the short one',
     '''		.short_index = super->short_index,''',
     '''		.short_index = super->segments - 1,'''),
    ('short-outlives-its-segment', SHORT, 'lib/pool/own.c',
     'the superblock describes a short segment that a shrink has removed',
     '''	if (super->short_index >= segments) {''',
     '''	if (super->short_index > segments) {'''),
    ('short-is-forgotten-by-a-grow', SHORT, 'lib/pool/own.c',
     'after a grow the short segment is as long as the others',
     '''	super->segments = segments;
	if (super->short_index >= segments) {''',
     '''	super->segments = segments;
	if (super->short_index < segments) {'''),
    # ---------------------------------------------------------- small objects
    ('slab-words-not-fenced', OBJECTS, 'lib/core/slabs.c',
     'a slab exists before the words of its objects are durable',
     '''	dp_persist_fence(persist);
''', ''),
    ('slab-without-pending-words', OBJECTS, 'lib/core/slabs.c',
     'an open reads the words of slabs as they are before the lanes are replayed',
     'dp_lanes_patch(&pool->lanes, addr, size, (char *)words);',
     'dp_lanes_patch(&pool->lanes, addr, 0, (char *)words);'),
    ('object-payload-not-flushed', OBJECTS, 'lib/core/object_step.c',
     'an object is live before its payload is durable',
     '''	return dp_persist_flush(&media->persist, media->geometry.base +
				op->extent.addr + op->offset, length);''',
     '''	return (void)media, 0;'''),
    ('object-without-lock', OBJECTS_TOGETHER, 'lib/core/publish.c',
     'two publishers change one word of a slab at once',
     '	ret = batch_choose_lock(batch, dp_object_bits_addr(step->object));',
     '	ret = 0;'),
    ('slab-with-objects-is-closed', OBJECTS, 'lib/extent/slab.c',
     'a close frees slabs that have live objects',
     '''		if (atomic_load_explicit(&slab->bits[i], memory_order_relaxed))
			return true;''',
     '''		(void)i;'''),
    # ------------------------------------------------------------- redo lanes
    ('lane-never-closed', SIM, 'lib/media/lane.c',
     'a stale lane is replayed after later single-word publishes',
     '''	dp_persist_store(lanes->persist, done, lanes->lane[index].done);
	return dp_persist_flush(lanes->persist, done, sizeof(*done));''',
     '''	return dp_persist_flush(lanes->persist, done, sizeof(*done));'''),
    ('third-fence-missing', SIM, 'lib/media/lane.c',
     'done may arrive after the call returned',
     '''	ret = lane_write_done(lanes, index);
	dp_persist_fence(lanes->persist);
	return ret;''',
     '''	return lane_write_done(lanes, index);'''),
    ('second-fence-missing', SIM, 'lib/media/lane.c',
     'done may arrive before the words',
     '''	ret = lane_apply(lanes, entries, count);
	dp_persist_fence(lanes->persist);
	if (ret)''',
     '''	ret = lane_apply(lanes, entries, count);
	if (ret)'''),
    ('commit-fence-missing', SIM, 'lib/media/lane.c',
     'words may arrive before the lane is committed',
     '''		ret = lane_write_header(lanes, index, &lane);
	dp_persist_fence(lanes->persist);
	return ret;
}

int dp_lane_run''',
     '''		ret = lane_write_header(lanes, index, &lane);
	return ret;
}

int dp_lane_run'''),
    ('entries-not-flushed', SIM, 'lib/media/lane.c',
     'the header is committed without what it commits',
     '	ret = dp_persist_flush(lanes->persist, to->entry, size);',
     '	ret = 0;'),
    ('lane-check-without-entries', SIM, 'lib/media/layout.c',
     'a torn lane passes for a committed one',
     '''	return XXH3_64bits_withSeed(lane->entry,
				    lane->count * sizeof(lane->entry[0]),
				    header);''',
     '''	return header;'''),
    ('torn-lane-left-in-place', SIM, 'lib/media/lane.c',
     'a torn lane is completed by the bytes of its successor',
     '''	control->found = dp_lane_judge(lanes->seed, index, copy);
''',
     '''	control->found = dp_lane_judge(lanes->seed, index, copy);
	if (control->found == DP_LANE_TORN)
		control->found = DP_LANE_CLOSED;
'''),
    ('torn-number-used-up-last', SIM, 'lib/media/lane.c',
     'the empty header completes the torn batch that it is to discard',
     '''		ret = lane_for_each_found(lanes, DP_LANE_TORN, lane_use_up);
	dp_persist_fence(lanes->persist);
	if (!ret)
		ret = lane_for_each_found(lanes, DP_LANE_TORN,
					  lane_write_empty);
	if (!ret)''',
     '''		ret = lane_for_each_found(lanes, DP_LANE_TORN,
					  lane_write_empty);
	dp_persist_fence(lanes->persist);
	if (!ret)
		ret = lane_for_each_found(lanes, DP_LANE_TORN, lane_use_up);
	if (!ret)'''),
    ('torn-number-used-up-twice', SIM, 'lib/media/lane.c',
     'a few cuts in recoveries turn a torn lane into damage',
     '''	return control->sequence + 1 == control->done ? 0 :
	       lane_write_done(lanes, index);''',
     '''	(void)control;
	return lane_write_done(lanes, index);'''),
    ('sequence-used-twice', SIM, 'lib/media/lane.c',
     'the second batch of a lane is marked done before it is applied',
     '''	lane.sequence = lanes->lane[index].done + 1;
''',
     '''	lane.sequence = lanes->lane[index].done | !lanes->lane[index].done;
'''),
    ('done-before-words-at-recovery', SIM, 'lib/media/lane.c',
     'a recovery that is cut cannot be done again',
     '''		ret = lane_for_each_found(lanes, DP_LANE_TORN, lane_use_up);
	dp_persist_fence(lanes->persist);''',
     '''		ret = lane_for_each_found(lanes, DP_LANE_TORN, lane_use_up);'''),
    ('lanes-not-replayed', SIM, 'lib/media/lane.c',
     'a committed batch is closed without being applied',
     '''	ret = lane_apply(lanes, lanes->pending, lanes->pending_count);''',
     '''	ret = 0;'''),
    ('tables-read-without-lanes', SIM, 'lib/media/lane.c',
     'memory is rebuilt before the lanes are replayed',
     '''		if (entry->addr >= addr && entry->addr - addr < size)''',
     '''		if (!addr && entry->addr - addr < size)'''),
    ('half-a-batch', SIM, 'lib/core/publish.c',
     'each operation of a batch becomes durable separately',
     '''		ret = batch_write(batch);''',
     '''		for (size_t i = 0; !ret && i < batch->count; i++)
			ret = dp_write_word(batch->pool, batch->step[i].change);
	(void)batch_write;'''),

    # ---------------------------------------------------------------- publish
    ('word-before-payload', SIM, 'lib/core/publish.c',
     'the payload is not durable when the word is',
     '''	ret = batch_for_each(batch, step_persist_first);
	dp_persist_fence(&batch->pool->media.persist);
	return ret;''',
     '''	ret = batch_for_each(batch, step_persist_first);
	return ret;'''),
    ('payload-not-flushed', SIM, 'lib/core/publish.c',
     'KEEP with PERSIST flushes only the first cache line',
     '''				step->op->extent.addr + step->op->offset,
				length);''',
     '''				step->op->extent.addr + step->op->offset,
				length < 64 ? length : 64);'''),
    ('word-not-fenced', SIM, 'lib/core/medium.h',
     'a publish returns before it is durable',
     '''	ret = dp_persist_flush(persist, to, sizeof(change.value));
	dp_persist_fence(persist);
	return ret;''',
     '''	return dp_persist_flush(persist, to, sizeof(change.value));'''),
    ('word-not-flushed', SIM, 'lib/core/medium.h',
     'a fence without a flush makes nothing durable',
     '''	ret = dp_persist_flush(persist, to, sizeof(change.value));
	dp_persist_fence(persist);
	return ret;''',
     '''	ret = 0;
	dp_persist_fence(persist);
	return ret;'''),
    ('settled-before-written', SIM, 'lib/core/publish.c',
     'RETIRED is visible, and the blocks are reused, before the word is durable',
     '''	ret = dp_persist_error(&batch->pool->media.persist);
	if (!ret)
		ret = batch_write(batch);
	batch_for_each_lock(batch, dp_polled_lock_release);
	/* After a failure, the kept error prevents later publishes from writing. */
	assert(!ret || dp_persist_error(&batch->pool->media.persist));
	if (ret)
		batch_for_each(batch, step_drop_hold);
	else
		batch_settle(batch);
	return ret;''',
     '''	batch_settle(batch);
	ret = batch_write(batch);
	batch_for_each_lock(batch, dp_polled_lock_release);
	(void)step_drop_hold;
	return ret;'''),
    ('claim-dropped-early', SIM, 'lib/core/publish.c',
     'an extent can be published again before the first publish is durable',
     '''	if (!ret)
		ret = batch_write(batch);
''',
     '''	for (size_t i = 0; !ret && i < batch->count; i++)
		if (batch->step[i].has & HAS_CLAIM)
			dp_state_unclaim(&batch->pool->states,
					 batch->step[i].handle.block);
	if (!ret)
		ret = batch_write(batch);
	for (size_t i = 0; i < batch->count; i++)
		if (batch->step[i].has & HAS_CLAIM)
			dp_state_claim(&batch->pool->states,
				       batch->step[i].handle.block,
				       batch->step[i].handle.generation,
				       batch->step[i].op->type ==
				       DAXPIN_OP_KEEP ? DP_STATE_RESERVED :
				       DP_STATE_LIVE, false);
'''),
    ('durable-zeroes-are-not', SIM, 'lib/core/allocate.c',
     'zeroes that are promised to be durable are lost by a power cut',
     '''		return dp_persist_wipe(&pool->media.persist, to, size);''',
     '''		dp_persist_zero(&pool->media.persist, to, size);'''),
    ('set-without-hold', SIM, 'lib/core/publish.c',
     'the target of a SET is retired and reused while its lane is open',
     '''		view = dp_state_read(states, step->handle.block);
		if (view''',
     '''		step->has = HAS_SHARED;
		dp_state_drop(states, step->handle.block, step->handle.generation, 1);
		view = dp_state_read(states, step->handle.block);
		if (view'''),
    ('set-without-lock', SIM, 'lib/core/publish.c',
     'two open lanes name one word',
     '''		return batch_choose_lock(batch, step->change.addr);
''',
     '''		(void)batch_choose_lock;
		return 0;
'''),
    ('root-slot-not-claimed', SIM, 'lib/media/root.c',
     'two batches change one root',
     '''	if (claim & CLAIMED)
		return -EBUSY;
''',
     ''''''),
    ('root-name-not-durable', SIM, 'lib/core/publish.c',
     'a root is durable before its name is',
     '''	batch->first |= dp_root_is_new(roots, slot);
''',
     '''	batch->first |= false;
'''),
    ('rooted-extent-retired', SIM, 'lib/core/publish.c',
     'a root names an extent that has been retired',
     '''	return left ? -EBUSY : 0;''',
     '''	return left > 1000 ? -EBUSY : 0;'''),
    ('generation-stands-still', SIM, 'lib/core/publish.c',
     'after a reopen a block begins the same generation again',
     '''	uint64_t gen = step->handle.generation + 1;''',
     '''	uint64_t gen = step->handle.generation;'''),

    # ------------------------------------------------------ superblock, create
    ('copy-not-written', SIM, 'lib/media/super.c',
     'the superblock has no copy to restore it from',
     '''	for (int i = 0; !ret && i < 2; i++) {
		ret = super_write_half(''',
     '''	for (int i = 0; !ret && i < 1; i++) {
		ret = super_write_half('''),
    ('copy-not-brought-up', SIM, 'lib/media/super.c',
     'two cuts destroy both halves of the copy',
     '''	if (!ret && dp_super_is_whole(last) && last->''',
     '''	if (ret && dp_super_is_whole(last) && last->'''),
    ('torn-half-not-unmade', RDMA, 'lib/media/super.c',
     'the next change turns a torn half into a valid one',
     '''		if (!half->check || dp_super_is_whole(half))''',
     '''		if (half->check || dp_super_is_whole(half))'''),
    ('newer-half-overwritten', SIM, 'lib/media/super.c',
     'a torn write destroys the only whole half',
     '''		   (super->sequence & 1) * sizeof(*super);

	assert(''',
     '''		   (super->sequence | 1) % 2 * sizeof(*super);

	assert('''),
    ('super-not-fenced', SIM, 'lib/media/super.c',
     'the copy may be whole before the page is, or neither',
     '''		if (!ret)
			dp_persist_fence(persist);
	}
	return ret;''',
     '''	}
	return ret;'''),
    ('superblock-written-first', SIM, 'lib/pool/create.c',
     'a create that was interrupted seems complete',
     '''	super.flags = DP_SUPER_CREATING;
''',
     '''	super.flags = 0;
'''),
    ('table-not-durable-at-create', SIM, 'lib/pool/create.c',
     'a pool is complete before its table is durable',
     '''		ret = dp_table_format(dp_segment_table(&pool->segments, index));
	dp_persist_fence(&pool->persist);''',
     '''		ret = dp_table_format(dp_segment_table(&pool->segments, index));'''),
    ('new-name-not-durable', SIM, 'lib/pool/grow.c',
     'the superblock counts a new segment before its name is durable',
     '''		ret = dp_os_fsync(pool->source.dir);
	if (ret) {''',
     '''		ret = 0;
	if (ret) {'''),
    ('new-file-not-durable', SIM, 'lib/pool/grow.c',
     'the superblock counts a new segment before its file has its size',
     '''		     dp_pool_sync_files(pool, pool->geometry.segments, errmsg);''',
     '''		     0;'''),
    ('unclean-not-written', SIM, 'lib/pool/own.c',
     'a pool whose owner died seems clean',
     '''	super->flags |= DP_SUPER_UNCLEAN | DP_SUPER_OPENING;
''',
     '''	super->flags &= ~DP_SUPER_UNCLEAN;
	super->flags |= DP_SUPER_OPENING;
'''),
    ('epoch-stands-still', SIM, 'lib/pool/own.c',
     'a handle of the last open is valid in this one',
     '''	super->epoch = dp_epochs_next(&pool->epochs);
''',
     ''''''),

    ('opening-not-said', SIM, 'lib/pool/own.c',
     'an open that was interrupted leaves segments of two opens',
     """	super->flags |= DP_SUPER_UNCLEAN | DP_SUPER_OPENING;
""",
     """	super->flags |= DP_SUPER_UNCLEAN;
"""),
    ('adopting-not-said', SIM, 'lib/pool/own.c',
     'an open of a copy that was interrupted leaves a mixture',
     """		super->flags |= DP_SUPER_ADOPTING;
""",
     """		super->flags |= DP_SUPER_OPENING;
"""),
    ('stamps-after-clean', SIM, 'lib/pool/own.c',
     'a close that was interrupted marks the pool CLEAN before the stamps are written',
     """		ret = dp_epochs_write(&pool->epochs, super, true);
	if (ret)
		return ret;
	super->flags &= ~DP_SUPER_UNCLEAN;
	memset(&super->owner, 0, sizeof(super->owner));
	return pool_write_super(pool);
""",
     """		super->flags &= ~DP_SUPER_UNCLEAN;
	if (ret)
		return ret;
	memset(&super->owner, 0, sizeof(super->owner));
	ret = pool_write_super(pool);
	return ret ? ret : dp_epochs_write(&pool->epochs, super, true);
"""),

    # ----------------------------------------------------------------- checks
    ('check-without-length', SIM, 'lib/media/layout.h',
     'a word whose length was damaged checks out',
     '''	return dp_word_check(seed, block, raw & DP_WORD_BODY) << DP_WORD_CHECK_SHIFT;''',
     '''	return dp_word_check(seed, block, raw & DP_WORD_BODY & ~0x3ffffull) <<
	       DP_WORD_CHECK_SHIFT;'''),
    ('zero-is-free', SIM, 'lib/media/layout.c',
     'a page of zeroes is accepted as free space',
     '''	if (check != dp_word_check_field(seed, block, raw))
		return false;
	return dp_word_unpack''',
     '''	if (!raw) {
		*ret_word = (struct dp_word) { DP_KIND_FREE, 1, 0 };
		return true;
	}
	if (check != dp_word_check_field(seed, block, raw))
		return false;
	return dp_word_unpack'''),
    ('slot-not-transposed', SIM, 'lib/core/publish.c',
     'one function computes the place of a word differently',
     '''	step->change.addr = dp_table_word_addr(table, block);''',
     '''	step->change.addr = (table->first_block << DP_BLOCK_SHIFT) +
			    table->offset + block * 8;'''),

    # ------------------------------------------------------------ page bitmap
    ('page-not-formatted', PAGE, 'lib/media/pages.c',
     'a page is in use whose words do not check out',
     '''	int ret = format(arg, page);

	dp_persist_fence''',
     '''	int ret = 0;

	(void)format;
	(void)arg;
	dp_persist_fence'''),
    ('page-format-not-fenced', PAGE, 'lib/media/pages.c',
     'the bit may arrive before the words of its page',
     '''	int ret = format(arg, page);

	dp_persist_fence(pages->persist);
''',
     '''	int ret = format(arg, page);

'''),
    ('page-format-half-flushed', PAGE, 'lib/media/table.c',
     'half of a page in use may not be formatted',
     '''	return dp_persist_flush(table->persist, to, sizeof(words));''',
     '''	return dp_persist_flush(table->persist, to, sizeof(words) / 2);'''),
    ('page-bit-in-memory-alone', PAGE, 'lib/media/pages.c',
     'the bit is set only in memory: an open ignores the page, and its extents'
     ' are lost',
     '''	if (!ret)
		ret = pages_mark(pages, page);
''',
     '''	(void)pages_mark;
'''),
    ('page-bit-not-fenced', PAGE_TOGETHER, 'lib/media/pages.c',
     'another thread stores a word, and its bit is not durable',
     '''	int ret = pages_store(pages, index, pages_bits(pages, index) | bit);

	dp_persist_fence(pages->persist);
	return ret;''',
     '''	return pages_store(pages, index, pages_bits(pages, index) | bit);'''),
    ('page-used-before-its-bit', PAGE_TOGETHER, 'lib/media/pages.c',
     'another thread stores a word before its bit is durable',
     '''	if (!ret)
		ret = pages_mark(pages, page);
	if (!ret)
		dp_pages_assume(pages, page);
''',
     '''	if (!ret)
		dp_pages_assume(pages, page);
	if (!ret)
		ret = pages_mark(pages, page);
'''),
    ('page-begun-twice', PAGE_TOGETHER, 'lib/media/pages.c',
     'a thread formats the page in which another one has published',
     '''	if (!dp_pages_is_used(pages, page))
		ret = pages_begin_locked''',
     '''	if (!ret)
		ret = pages_begin_locked'''),
    ('page-bitmap-not-read', PAGE, 'lib/core/recover.c',
     'an open treats every page as not in use',
     '''		if (!dp_epochs_is_foreign(&pool->media.epochs, i))
			ret = dp_table_load_pages(''',
     '''		if (dp_epochs_is_foreign(&pool->media.epochs, i))
			ret = dp_table_load_pages('''),
    ('free-word-not-checked', SIM, 'lib/media/layout.c',
     'a word of free space that fails its check is skipped',
     '''			other[i] |= (uint64_t)(raw != (body |
				dp_word_check_field(seed, block, body))) << line;''',
     '''			other[i] |= (uint64_t)((raw & DP_WORD_BODY) != body) <<
				    line;
			(void)block;'''),
    ('page-bitmap-not-checked', SIM, 'lib/media/layout.c',
     'a damaged word of the page bitmap hides extents',
     '''	return raw == dp_pages_encode(seed, block, *ret_bits);''',
     '''	return raw || !dp_pages_encode(seed, block, *ret_bits);'''),
]
