# SPDX-License-Identifier: BSD-3-Clause
"""Bugs that only the lab's tests find: in reclaim and refill on a real DAX filesystem, and
in what happens to a pool whose owner is killed under the RDMA of other processes. Each
boots a guest, which must see the runner's copies of the source: set TMPDIR to a
directory outside /tmp."""

LAB = ['../source/tests/lab/lab', '--build', '.', '--']
RECLAIM = LAB + ['tests/lab/reclaim_pins']
RECLAIM_FS = LAB + ['tests/lab/reclaim_fs']
RESIZE_KILL = LAB + ['tests/lab/rdma_resize_kill', '30', 'shmem', '7']
RECLAIM_EXT4 = LAB[:1] + ['--fs', 'ext4'] + LAB[1:] + RECLAIM_FS[len(LAB):]

MUTANTS = [
    ('lab-gate-opened-early', RECLAIM + ['holds_are_refused_while_the_kernel_waits_for_pins'],
     'lib/reclaim/part.c', 'I32: holds are possible while the kernel punches',
     '''		part_begin_request(part, runs, slot);
		return true;''',
     '''		part_begin_request(part, runs, slot);
		dp_gate_open(dp_state_gates(jobs->states), segment);
		return true;''',
     'holds_are_refused_while_the_kernel_waits_for_pins'),
    ('lab-backed-after-failure', RECLAIM_FS +
     ['on_a_full_filesystem_no_store_is_a_sigbus'], 'lib/reclaim/part.c',
     'D9: a chunk whose refill failed is reserved',
     '	if (!part->result[run])\n		return DP_CLAIM_DONE;',
     '''	if (!part->result[run] || part->job->kind == DP_JOB_REFILL)
		return DP_CLAIM_DONE;''',
     'on_a_full_filesystem_no_store_is_a_sigbus'),
    ('lab-no-deadline', RECLAIM + ['the_kernel_keeps_the_deadline_of_a_job'],
     'lib/reclaim/punch.c', 'the deadline is kept only if a thread makes a call',
     '	if (punch_has_deadline(request))\n		punch_prepare_deadline(',
     '	if (0 && punch_has_deadline(request))\n		punch_prepare_deadline(',
     'the_kernel_keeps_the_deadline_of_a_job'),
    ('lab-cancel-does-nothing', RECLAIM +
     ['a_job_is_cancelled_while_the_kernel_waits'], 'lib/reclaim/punch.c',
     'a cancel does not end a job whose request the kernel has',
     '''	punch_make_room(punch, 1);
	punch_prepare_cancel(punch, request);''',
     '''	if (punch && request)
		return;
	punch_prepare_cancel(punch, request);''',
     'a_job_is_cancelled_while_the_kernel_waits'),
    ('lab-one-part-at-a-time', RECLAIM + ['a_pin_delays_only_its_own_segment'],
     'lib/reclaim/part.h', 'a pin in one segment delays all segments',
     '#define DP_PARTS_MAX	16u',
     '#define DP_PARTS_MAX	1u',
     'a_pin_delays_only_its_own_segment'),
    ('lab-of-the-thread', RECLAIM +
     ['a_job_continues_after_the_end_of_the_thread_that_began_it'], 'lib/reclaim/punch.c',
     'a punch ends with the thread that began it',
     'int ret = dp_ring_open(ring, ENTRIES, DP_RING_OWN_THREAD);',
     'int ret = dp_ring_open(ring, ENTRIES, DP_RING_PLAIN);',
     'a_job_continues_after_the_end_of_the_thread_that_began_it'),
    ('lab-doubt-forgotten', RECLAIM_EXT4 + ['on_a_full_filesystem_no_store_is_a_sigbus'],
     'lib/reclaim/hole.c', 'what a failed refill has allocated is never given back',
     '		flags |= DP_CHUNK_PARTIAL;',
     '		flags |= 0;',
     'on_a_full_filesystem_no_store_is_a_sigbus'),
    ('lab-dead-owner-not-awaited', RESIZE_KILL, 'lib/pool/pool.c',
     'an open does not wait for the verbs contexts of a dead owner',
     '''	return dp_owner_await(&pool->super.owner, &request->policy,
			      request->despite_rdma, request->errmsg);''',
     '	return 0;',
     'nothing_is_lost_when_an_owner_is_killed'),
    ('lab-left-stays', RESIZE_KILL, 'lib/core/recover.c',
     'D24: an open leaves the files that a shrink of a dead owner has left',
     '		dp_pool_remove_left(&pool->media);',
     '		;',
     'nothing_is_lost_when_an_owner_is_killed'),
]
