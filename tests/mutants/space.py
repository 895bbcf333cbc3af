# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the free space: runs by length, blocks returned while the lock is held, bounds
of the longest run, threads' caches. The last item is the test that must fail."""

RUNS = ['tests/unit/extent_runs']
SPACE = ['tests/unit/extent_space']
LONGEST = ['tests/unit/extent_longest']
CACHE = ['tests/unit/extent_cache']
SPACES = ['tests/unit/extent_spaces']
RECLAIM = ['tests/unit/reclaim_job']
RETRY = ['tests/unit/api_retry']

MUTANTS = [
    # ------------------------------------------------------------------- runs
    ('left-not-joined', RUNS, 'lib/extent/runs.c',
     'a freed run is not joined with the run that ends before it',
     'uint32_t before = begin ? runs_node_at(runs, begin - 1) : 0;',
     'uint32_t before = 0;',
     'a_freed_run_is_joined_with_its_neighbours'),
    ('last-tag-not-written', RUNS, 'lib/extent/runs.c',
     'a run is not found by its last block',
     '''	*runs_tag(runs, block + blocks - 1) = node;
}''',
     '}',
     'the_lists_match_a_plain_array'),
    ('class-ends-early', RUNS, 'lib/extent/runs.c',
     'the greatest length of a class is not in the class',
     '<< (octave + EXACT_SHIFT - STEP_SHIFT)) - 1;',
     '<< (octave + EXACT_SHIFT - STEP_SHIFT)) - 2;',
     'each_length_is_in_the_right_class'),
    ('own-class-left-early', RUNS, 'lib/extent/runs.c',
     'a run is not found if runs before it in its class are too short',
     '	return runs_find_in(runs, class, blocks, UINT32_MAX);',
     '	return 0;',
     'a_run_is_found_behind_many_shorter_ones_of_its_class'),
    ('tags-of-four-blocks', RUNS, 'lib/extent/runs.c',
     'two runs have the same tag',
     '#define TAG_BLOCKS	2u',
     '#define TAG_BLOCKS	4u',
     'the_lists_match_a_plain_array'),
    ('resized-in-its-list', RUNS, 'lib/extent/runs.c',
     'a run whose length changes stays in the list of its old class',
     '	if (runs_class(run->blocks) == runs_class(blocks)) {',
     '	if (run->blocks) {',
     'the_lists_match_a_plain_array'),

    # ------------------------------------------------------------- a segment
    ('no-look-after-unlock', SPACE, 'lib/extent/space.c',
     'blocks that were returned while the lock was held are not added',
     '	while (space_has_returned(space) && dp_short_lock_try(&space->lock)) {',
     '	while (0 && space_has_returned(space) && dp_short_lock_try(&space->lock)) {',
     'returned_blocks_are_added_after_the_lock_is_released'),
    ('no-look-before-a-search', SPACE, 'lib/extent/space.c',
     'a thread that takes the lock does not add the returned blocks',
     '''	dp_short_lock_take(&space->lock);
	if (space_has_returned(space))
		space_drain(space);''',
     '	dp_short_lock_take(&space->lock);',
     'the_next_claim_takes_returned_blocks_into_account'),
    ('bound-too-low', SPACE, 'lib/extent/space.c',
     'a search that fails sets the bound to no run at all',
     '''uint32_t bound = dp_min(dp_runs_longest(&space->runs), blocks - 1);''',
     '''uint32_t bound = dp_min(dp_runs_longest(&space->runs), blocks - blocks);''',
     'a_failed_claim_lowers_the_bound_to_the_longest_free_run'),
    ('bound-not-raised', SPACE, 'lib/extent/space.c',
     'freed blocks are not found',
     'if (!space->closed && length >',
     'if (0 && !space->closed && length >',
     'a_failed_claim_lowers_the_bound_to_the_longest_free_run'),
    ('free-waits-for-the-lock', SPACE, 'lib/extent/space.c',
     'a free sleeps until the lock is released',
     '''	if (!dp_short_lock_try(&space->lock)) {
		space_return''',
     '''	dp_short_lock_take(&space->lock);
	if (0) {
		space_return''',
     'a_free_waits_for_no_lock'),
    ('last-group-short', SPACE, 'lib/extent/space.c',
     'of several words of a bit only the first is read',
     'end = dp_min(word + space->group_words, words);',
     'end = dp_min(word + 1, words);',
     'one_returned_block_of_each_word_is_added'),

    # ---------------------------------------------------------------- bounds
    ('raises-not-counted', LONGEST, 'lib/extent/longest.c',
     'I61: a searcher lowers a group that was raised meanwhile',
     '(word - bound) + RAISE_ONE +',
     '(word - bound) +',
     'a_raise_in_the_middle_of_a_search_is_not_lost'),
    ('group-not-raised', LONGEST, 'lib/extent/longest.c',
     'I61: a group is raised only by what exceeds its first bound',
     '	bool raises = blocks > dp_longest_get(longest, segment);',
     '	bool raises = !dp_longest_get(longest, segment);',
     'raising_a_segment_raises_its_group'),
    ('group-never-lowered', LONGEST, 'lib/extent/longest.c',
     'each search reads all segments of a group',
     '	if (most < (uint32_t)word)',
     '	if (most > (uint32_t)word)',
     'a_search_without_a_result_lowers_the_groups_bound'),

    # ---------------------------------------------------------------- caches
    ('newer-half-shed', CACHE, 'lib/extent/cache.c',
     'a full cache returns its newest runs instead of its oldest',
     '''	memmove(stack->run, stack->run + count, stack->count * sizeof(*stack->run));
''',
     '',
     'shed_gives_back_the_older_half'),
    ('strangers-given-as-one', CACHE, 'lib/extent/cache.c',
     'runs that are not adjacent are freed as one',
     '''		if (block != end && block + blocks != begin) {''',
     '''		if (block != end && block + blocks + 1 < begin) {''',
     'adjacent_runs_are_given_back_as_one'),
    ('stealing-ignored', CACHE, 'lib/extent/cache.c',
     'I63: a thread enters its cache while another empties all',
     '	if (!(atomic_load(&caches->mode) & CACHES_STEALING))',
     '	if (!(atomic_load(&caches->mode) & 4))',
     'no_thread_enters_its_cache_while_another_steals'),
    ('usual-way-not-closed', CACHE, 'lib/extent/cache.h',
     'I63: a thread puts a run into its cache while another empties all',
     '!atomic_load(&caches->mode) && dp_cache_put(',
     'atomic_load(&caches->mode) < 4 && dp_cache_put(',
     'the_fast_path_is_closed_while_a_thread_steals'),
    ('thief-does-not-wait', CACHE, 'lib/extent/cache.c',
     'I62: a cache is emptied while its thread uses it',
     'while (atomic_load(&cache->busy))',
     'if (atomic_load(&cache->busy) > 1)',
     'a_thief_waits_for_a_thread_that_is_in_its_cache'),
    ('thief-makes-no-fence', CACHE, 'lib/extent/cache.c',
     "I63: a thread's store to busy that is not visible yet is missed",
     '		if (dp_os_membarrier())',
     '		if (used)',
     'a_thief_reads_busy_after_its_fence'),
    ('fence-that-failed-will-do', CACHE, 'lib/extent/cache.c',
     'I63: after a fence that failed caches are emptied nevertheless',
     '	return used & caches_fenced(caches);',
     '	return used | caches_fenced(caches);',
     'a_thief_whose_fence_fails_takes_only_its_own_cache'),
    ('looked-silently', CACHE, 'lib/extent/cache.c',
     'C4: a thread that has begun to make its own fences does not look for refusals',
     '''	atomic_store(&cache->fenced, true);
	dp_events_notify_refused''',
     '''	atomic_store(&cache->fenced, true);
	if (0)
		dp_events_notify_refused''',
     'a_thread_that_noticed_the_failed_fence_can_be_stolen_from'),
    ('ended-silently', CACHE, 'lib/extent/thread_slot.c',
     'C4: a thread that ends with cached blocks does not look for refusals',
     '		end->fn(slot, end->arg);',
     '		(void)slot;',
     'after_a_failed_fence_a_threads_end_sends_retry'),
    ('ended-is-unknown', CACHE, 'lib/extent/cache.c',
     'C4: cached blocks of a thread that has ended are lost until its slot is reused',
     'caches_mine() | dp_thread_slots_free();',
     'caches_mine();',
     'after_a_failed_fence_a_threads_end_sends_retry'),
    ('free-does-not-look', RETRY, 'lib/extent/spaces.c',
     'C4: a thread that frees does not notice that it must make its own fences',
     '''	dp_caches_note_fenced(&spaces->caches);
	/* If blocks of''',
     '	/* If blocks of',
     'without_membarrier_retry_follows_the_other_threads_next_free'),
    ('reserve-does-not-look', RETRY, 'lib/extent/spaces.c',
     'C4: a thread that reserves does not notice that it must make its own fences',
     '''	dp_caches_note_fenced(&spaces->caches);
	return''',
     '	return',
     'without_membarrier_retry_follows_the_other_threads_next_reserve'),

    # ------------------------------------------------------------- the pool's
    ('first-segments-alike', SPACES, 'lib/extent/spaces.c',
     'several threads begin in one segment while others are unused',
     '	while (spaces_have_common_divisor(segments, step))',
     '	while (0 && spaces_have_common_divisor(segments, step))',
     'threads_begin_in_different_segments'),
    ('refused-without-stealing', SPACES, 'lib/extent/spaces.c',
     'I28: a claim is refused although caches have enough blocks',
     '	else if (!spaces_may_have(spaces, blocks))',
     '	else if (spaces_may_have(spaces, blocks) || blocks)',
     'cached_runs_are_joined_for_a_large_claim'),
    ('others-keep-nothing', SPACES, 'lib/extent/spaces.c',
     'I28: caches of other threads are not searched',
     '''	return !dp_caches_have_one_user(&spaces->caches) ||
	       (dp''',
     '''	return dp_caches_have_one_user(&spaces->caches) &&
	       (dp''',
     'a_claim_gets_blocks_that_other_threads_cache'),
    ('returned-not-asked', SPACES, 'lib/extent/spaces.c',
     'I28: a thread is refused blocks that it has returned itself',
     '''	if (atomic_load(&spaces->returns))
		spaces_settle(spaces);
	else if''',
     '	if',
     'a_thread_can_claim_what_it_gave_back'),
    ('kept-is-not-free', SPACES, 'lib/extent/spaces.c',
     'cached blocks are not counted as free',
     '	uint64_t blocks = dp_caches_blocks(&spaces->caches);',
     '	uint64_t blocks = 0;',
     'cached_blocks_are_counted_as_free'),
    ('reclaim-without-gathering', RECLAIM, 'lib/reclaim/job.c',
     'a cached block prevents the reclaim of its chunk',
     '	if (wanted)\n		dp_spaces_gather',
     '	if (0 && wanted)\n		dp_spaces_gather',
     'reclaim_empties_the_threads_cache'),
    ('hold-empties-caches', RECLAIM, 'lib/reclaim/job.c',
     'a hold waits until another thread has left its cache',
     '	jobs_refused(jobs, jobs_open_gates);',
     '	dp_jobs_poll(jobs);\n	jobs_refused(jobs, jobs_open_gates);',
     'a_hold_at_a_closed_gate_does_not_wait_for_a_cache'),
    ('gathered-under-the-mutex', RECLAIM, 'lib/reclaim/job.c',
     'a thread that looks for a job waits until another has left its cache',
     '''	pthread_mutex_unlock(&jobs->mutex);
	if (wanted)
		dp_spaces_gather(jobs->holes.spaces);
''',
     '''	if (wanted)
		dp_spaces_gather(jobs->holes.spaces);
	pthread_mutex_unlock(&jobs->mutex);
''',
     'a_job_that_waits_for_a_cache_has_no_mutex_locked'),
    ('reserve-steals-twice', RETRY, 'lib/core/allocate.c',
     'a reserve that is refused empties all caches twice',
     '	if (!dp_spaces_try(&pool->spaces, blocks, ret_block))',
     '	if (dp_spaces_claim(&pool->spaces, blocks, ret_block))',
     'a_refused_reserve_empties_other_caches_once'),
]
