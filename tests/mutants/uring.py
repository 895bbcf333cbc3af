# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in when, and for whom, segments become fixed buffers of rings."""

SHARE = ['tests/unit/uring_share', 'shmem']
SLOTS = ['tests/unit/uring_buffer_slots', 'shmem']
REFUSED = ['tests/unit/uring_refused']

MUTANTS = [
    ('prep-registers', SLOTS, 'lib/uring/buffer_slots.c',
     'a prep pins a segment, and waits for that',
     '''		table->asking = index;
}''',
     '''		table->asking = index;
	dp_uring_table_fill_on_demand(uring);
}''',
     'a_prep_registers_nothing'),
    ('never-shared', SHARE, 'lib/uring/share.c',
     'each ring pins a segment separately',
     '''	return share && !share_take(share, index) &&''',
     '''	return share && !share->segments && !share_take(share, index) &&''',
     'rings_of_a_process_pin_a_segment_once'),
    ('registered-at-once', SLOTS, 'lib/uring/buffer_slots.c',
     'the first plain request makes the next reap pin a segment',
     '''	if (state->misses < state->miss_threshold) {''',
     '''	if (!state->misses) {''',
     'reap_registers_segments_after_many_plain_requests'),
    ('registered-though-not-prepared', SLOTS, 'lib/uring/buffer_slots.c',
     'DAXPIN_URING_PREPARED has no effect',
     '''	if (!table->is_on_demand || state->is_leaving)''',
     '''	if (!table->is_open || state->is_leaving)''',
     'with_the_prepared_flag_only_prepare_registers_segments'),
    ('failure-is-not-noticed', SHARE, 'lib/uring/share.c',
     'a ring that may not copy reports fixed buffers, but has none',
     '''	if (!share_note(uring, ret))
		return true;''',
     '''	if (!share_note(uring, ret) || ret == -EACCES)
		return true;''',
     'a_ring_that_may_not_copy_a_segment_registers_it_itself'),
    ('wanted-for-good', SLOTS, 'lib/uring/buffer_slots.c',
     'after a reclaim that failed its segment is never a fixed buffer again',
     '''	if (ret && ret != -EALREADY)
		return ret;
	state->is_leaving = false;''',
     '''	if (ret)
		return ret;
	state->is_leaving = false;''',
     'a_segment_stays_fixed_if_its_reclaim_is_cancelled'),
    ('interrupted-again', REFUSED, 'lib/uring/register.c',
     'the second try of a call on a ring can be interrupted, too',
     '''	pthread_sigmask(SIG_BLOCK, &all, &before);''',
     '''	pthread_sigmask(SIG_BLOCK, NULL, &before);''',
     'an_interrupted_call_is_repeated_with_all_signals_blocked'),
    ('shortage-is-an-answer', REFUSED, 'lib/uring/share.c',
     'a ring that once had no descriptor never shares registrations again',
     '''	return error == -EMFILE || error == -ENFILE || error == -ENOMEM ||
	       error == -EBUSY;''',
     '''	return error == -EINTR;''',
     'a_ring_shares_after_a_shortage'),
    ('hidden-is-free', REFUSED, 'lib/uring/register.c',
     'an attach replaces a file of the program while another thread is in the ring',
     '''	int taken = -EBUSY;''',
     '''	int taken = -ENOENT;''',
     'a_slot_in_use_is_not_replaced_while_the_ring_is_busy'),
    ('a-bad-page-ends-all', REFUSED, 'lib/uring/buffer_slots.c',
     'a page that cannot be pinned makes all requests of the ring plain',
     '''		all_tried &= ret != -EAGAIN;''',
     '''		all_tried &= ret != -EAGAIN;
		if (ret == -EFAULT)
			break;''',
     'a_page_that_cannot_be_pinned_makes_only_its_segment_plain'),
]
