# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in removing segments from a pool that is open."""

TEST = ['tests/unit/core_shrink']
SLABS = ['tests/unit/extent_objects']
GROW = ['tests/unit/pool_grow']
COPY = ['tests/sim/sim', '--stop', '--kind', 'copy']
SHRINK = ['tests/sim/sim', '--stop', '--states', '400', '--kind', 'shrink']

MUTANTS = [
    # -------------------------------------------------------------- free space
    ('closed-space-found', TEST, 'lib/extent/space.c',
     'what becomes free in a closed segment is reserved again',
     'space->closed = closed;',
     'space->closed = false;'),
    ('closed-space-cached', TEST, 'lib/extent/spaces.c',
     'what becomes free in a closed segment stays in a cache',
     'dp_caches_slow_down(&spaces->caches, true);',
     ''),
    ('closed-space-lost', TEST, 'lib/core/shrink.c',
     'a shrink that fails does not give the space back',
     'dp_spaces_reopen(&s->pool->spaces, s->from, s->to);',
     ''),
    # ----------------------------------------------------------- small objects
    ('closed-slab-listed', TEST, 'lib/extent/objects.c',
     'a slab of a closed segment stays in the list of its class',
     '''	} else if (place == DP_SLAB_PARTIAL) {
		list_remove(list, slab);
	}
	dp_slab_set_place(slab, DP_SLAB_WITHDRAWN);''',
     '''	} else if (place == DP_SLAB_PARTIAL) {
		return false;
	}
	dp_slab_set_place(slab, DP_SLAB_WITHDRAWN);'''),
    ('closed-slab-owned', TEST, 'lib/extent/objects.c',
     'a thread goes on with its current slab in a closed segment',
     '''		objects_take(objects, slab);
		dp_slab_set_flag(slab, DP_SLAB_WAS_TAKEN);''',
     '''		dp_slab_set_flag(slab, DP_SLAB_WAS_TAKEN);'''),
    ('closed-slab-kept', TEST, 'lib/extent/objects.c',
     'an empty slab of a closed segment is not freed',
     'return dp_slab_is_empty(slab) && objects_close(list, slab);\n\treturn',
     'return false;\n\treturn'),
    ('closed-slab-lost', TEST, 'lib/extent/objects.c',
     'after a shrink that failed its slabs are not used again',
     '''		if (dp_slab_place(slab) == DP_SLAB_WITHDRAWN)
			objects_list(list, slab);''',
     ''),
    ('closed-slab-is-made', SLABS, 'lib/extent/objects.c',
     'a slab that was being made in a closed segment becomes a current one',
     'is_withdrawn = dp_slab_addr(slab) >= atomic_load(&objects->withdrawn_from);',
     'is_withdrawn = false;'),
    ('closed-slab-not-sealed', SLABS, 'lib/extent/objects.c',
     'a thread reserves in a slab that was freed',
     'if (was_taken && !dp_slab_seal(slab))',
     'if (was_taken && !dp_slab_is_empty(slab))'),
    ('shrink-beside-a-shrink', TEST, 'lib/api/shrink.c',
     'a shrink begins while another call grows or shrinks the pool',
     'if (atomic_exchange(&pool->resizing, true))',
     'if (atomic_exchange(&pool->resizing, true) && 0)',
     'there_is_one_shrink_and_no_close_at_a_time'),
    ('grow-beside-a-shrink', TEST, 'lib/core/grow.c',
     'a grow begins while a shrink waits',
     'if (atomic_exchange(&pool->resizing, true))',
     'if (atomic_exchange(&pool->resizing, true) && 0)',
     'there_is_one_shrink_and_no_close_at_a_time'),
    ('shrink-beside-a-grow', GROW, 'lib/api/shrink.c',
     'a shrink begins while the pool grows',
     'if (atomic_exchange(&pool->resizing, true))',
     'if (atomic_exchange(&pool->resizing, true) && 0)',
     'a_second_grow_and_a_close_during_a_grow_are_busy'),
    # ----------------------------------------------------------------- leaving
    ('left-despite-pins', TEST, 'lib/reclaim/leave.c',
     'a pinned segment is removed',
     'leave_find_pin(jobs, from, to, ret_obstacle))',
     '(leave_find_pin(jobs, from, to, ret_obstacle) && 0))'),
    ('left-despite-jobs', TEST, 'lib/reclaim/leave.c',
     'a segment is removed that a job waits for',
     'if (leave_find_job(jobs, from, to, ret_obstacle) ||',
     'if ((leave_find_job(jobs, from, to, ret_obstacle) && 0) ||'),
    ('left-with-open-gates', TEST, 'lib/reclaim/leave.c',
     'holds can be taken while a segment is removed',
     '''	for (uint32_t i = from; i < to; i++)
		dp_gate_close(dp_state_gates(jobs->states), i);''',
     ''),
    # ------------------------------------------------------------------- media
    ('copy-not-fenced', COPY, 'lib/core/copy.c',
     'a copy that was kept as persisted is not durable',
     '''	dp_persist_fence(persist);
	return ret;''',
     '''	return ret;'''),
    ('removed-but-counted', SHRINK, 'lib/pool/shrink.c',
     'the superblock counts segments whose files are gone',
     'ret = dp_pool_set_segments(pool, segments);',
     'ret = segments ? 0 : dp_pool_set_segments(pool, segments);'),
    ('removed-before-uncounted', TEST, 'lib/pool/shrink.c',
     'a crash leaves a superblock that counts files which are gone',
     'ret = dp_pool_set_segments(pool, segments);',
     '''for (uint32_t i = before; i-- > segments;)
		dp_segment_drop(&pool->segments, i);
	before = segments;
	ret = dp_pool_set_segments(pool, segments);'''),
    ('removed-file-keeps-blocks', TEST, 'lib/pool/segment.c',
     'a ring that has the anchor keeps the blocks of a removed file',
     'dp_os_truncate(dp_file_fd(segment->file), 0);',
     '(void)segment;'),
    ('left-without-a-scan', TEST, 'lib/pool/shrink.c',
     'the next open removes a file that has extents',
     'is = left_is_of_last_open(&left) && left_has_no_extent(&left);',
     '(void)left_has_no_extent; is = left_is_of_last_open(&left);'),
    ('left-of-any-open', TEST, 'lib/pool/shrink.c',
     'the next open removes a part of a backup',
     'super.epoch == first->epoch && super.open_id == first->open_id &&',
     ''),
]
