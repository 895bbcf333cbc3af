# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in requests to io_uring and in the handling of its completions, which the
simulator must catch on a machine whose kernel completes requests in any order."""


def sim(kind):
    return ['tests/sim/sim', '--stop', '--kind', kind]


MUTANTS = [
    # ------------------------------------------------- what an answer means
    ('punch-interrupted-is-done', sim('reclaim-cancelled'),
     'lib/reclaim/part.c',
     'A7: a punch that was interrupted is taken for done',
     '''	if (!part->result[run])
		return DP_CLAIM_DONE;''',
     '''	if (!part->result[run] || dp_ring_was_interrupted(part->result[run]))
		return DP_CLAIM_DONE;'''),
    ('punch-failed-is-undone', sim('reclaim-failing'), 'lib/reclaim/part.c',
     'D9: a punch that failed half way is taken for not begun',
     '''	return part->job->kind == DP_JOB_RECLAIM &&
	       dp_ring_was_interrupted(part->result[run]) ?''',
     '''	return part->job->kind == DP_JOB_RECLAIM ?'''),
    ('refill-in-part-is-done', sim('refill-full'), 'lib/reclaim/part.c',
     'D9: a refill that ran out of space is taken for done',
     '''	if (!part->result[run])
		return DP_CLAIM_DONE;''',
     '''	if (!part->result[run] || part->result[run] == -ENOSPC)
		return DP_CLAIM_DONE;'''),
    ('restart-code-is-an-error', sim('reclaim-cancelled'), 'lib/os/ring.c',
     'A7: the code of a kernel that leaks it is taken for a failed punch',
     '''	return result == -EINTR || result == -ECANCELED ||
	       (result <= -512 && result >= -516);''',
     '''	return result == -EINTR || result == -ECANCELED;'''),
    # ------------------------------------------------- whose answer it is
    ('answer-of-another-part', sim('reclaim-parts'), 'lib/reclaim/part.c',
     'an answer is taken for that of another part',
     '''		if (jobs->in_kernel[i] &&
		    jobs->in_kernel[i]->request.attempt == completion->attempt)''',
     '''		if (jobs->in_kernel[i])'''),
    ('answer-of-another-run', sim('reclaim-failing'), 'lib/reclaim/part.c',
     'an answer is taken for that of another run of the part',
     '	part->result[completion->run] = completion->result;',
     '	part->result[part->pending] = completion->result;'),
    # ------------------------------------------------- when it is over
    ('deadline-without-an-answer', sim('reclaim-late'), 'lib/reclaim/part.c',
     'I7: at the deadline chunks are free, and the kernel may still punch them',
     '''	dp_punch_cancel(&job->jobs->punch, &part->request);''',
     '''	dp_punch_cancel(&job->jobs->punch, &part->request);
	if (early)
		return;
	for (uint32_t i = 0; i < part->request.runs; i++)
		part->result[i] = -ECANCELED;
	part->pending = 0;
	part_continue(part);'''),
    ('first-answer-ends-all', sim('reclaim-parts'), 'lib/reclaim/part.c',
     'I7: a part is over when the first of its runs is answered',
     '''	part->result[completion->run] = completion->result;
	if (!part->pending && !part_is_recheck(part))''',
     '''	part->result[completion->run] = completion->result;
	part->pending = 0;'''),
    ('punch-of-free', sim('reclaim'), 'lib/reclaim/hole.c',
     'I7: a chunk can be reserved while it is punched',
     '''	atomic_fetch_add(&holes->claimed, 1);
	return true;''',
     '''	atomic_fetch_add(&holes->claimed, 1);
	if (flags & DP_CHUNK_BACKED)
		dp_spaces_free(holes->spaces, hole_block(holes, segment, chunk),
			       DP_CHUNK_BLOCKS);
	return true;'''),
    ('refill-free-when-asked', sim('refill'), 'lib/reclaim/part.c',
     'D9: a chunk is free before the kernel has answered its refill',
     '		dp_punch_request(&job->jobs->punch, &part->request);',
     '''		dp_punch_request(&job->jobs->punch, &part->request);
	if (job->kind == DP_JOB_REFILL)
		dp_spaces_free(job->jobs->holes.spaces,
			       (dp_geometry_begin(geometry, segment) >>
				DP_BLOCK_SHIFT) +
			       part->run[0].chunk * DP_CHUNK_BLOCKS,
			       DP_CHUNK_BLOCKS);'''),
    ('refill-not-durable', sim('refill'), 'lib/reclaim/part.c',
     'D9: after a power cut what was published in a refilled chunk is a hole',
     'if (part->job->kind == DP_JOB_RECLAIM || !part_runs_done(part)) {',
     'if (part->job->kind == DP_JOB_RECLAIM || part_runs_done(part)) {'),
    ('blocking-refill-not-durable', sim('refill-blocking'), 'lib/reclaim/part.c',
     'D9: after a power cut what was published in a refilled chunk is a hole',
     '		if (!ret && part->job->kind == DP_JOB_REFILL)\n',
     '		if (!ret && part->job->kind > DP_JOB_REFILL)\n'),
    # ------------------------------------------------- the layout barrier
    ('barrier-not-awaited', sim('barrier'), 'lib/owner/barrier.c',
     'D8: an open does not wait until no page is pinned',
     '		ret = barrier_pass_all(p);\n',
     '		ret = p->barrier->files ? 0 : barrier_pass_all(p);\n'),
    ('barrier-interrupted-is-passed', sim('barrier'), 'lib/owner/barrier.c',
     'D8: a barrier that was interrupted is taken for passed',
     '''	if (barrier_is_passed(p, cqe->res)) {
		p->passed++;''',
     '''	if (barrier_is_passed(p, cqe->res) ||
	    dp_ring_was_interrupted(cqe->res)) {
		p->passed++;'''),
    ('barrier-unbegun-is-pinned', sim('barrier-busy'), 'lib/owner/barrier.c',
     'a file is reported as pinned although no worker has begun',
     '	if (!dp_ring_was_interrupted(cqe->res) || cqe->res == -ECANCELED)\n',
     '	if (!dp_ring_was_interrupted(cqe->res))\n'),
    ('barrier-missed-is-begun', ['tests/unit/owner_barrier_late'], 'lib/owner/barrier.c',
     'W12: after a cancellation that missed all requests the next one comes too early',
     '	if (p->back)\n',
     '	if (p->back || p->barrier->files)\n',
     'a_request_that_begins_late_passes_though_cancellations_miss_it'),
    ('barrier-by-what-does-not-wait', sim('barrier'), 'lib/owner/barrier.c',
     'D8: before Linux 6.9 the barrier on ext4 uses a call that does not wait for pins',
     '		p->by = BY_ZERO_PAST_END;',
     '		p->by = BY_PUNCH_PAST_END;'),
    ('barrier-full-is-a-failure', sim('barrier'), 'lib/owner/barrier.c',
     'on a full ext4 the barrier has no block to zero, and the open fails',
     'return !result || (p->by == BY_ZERO_PAST_END && result == -ENOSPC);',
     'return !result;'),
    # ------------------------------------------- a wake-up is a hint (W12)
    ('barrier-waits-to-be-woken', sim('barrier'), 'lib/owner/barrier.c',
     'W12: an open hangs on a kernel that does not wake it',
     '	if (now_ns < p->backoff.at_ns)\n',
     '	if (p->backoff.at_ns)\n'),
    ('punch-waits-to-be-woken', sim('reclaim-asleep'), 'lib/reclaim/part.c',
     'W12: a reclaim hangs on a kernel that does not wake it',
     '	if (part_is_fsdax(part) && part->backoff.at_ns < part->job->deadline_ns)',
     '	if (!part_is_fsdax(part))'),
    ('punch-looks-when-called', sim('reclaim-asleep'), 'lib/reclaim/part.c',
     'W12: a thread that sleeps on the eventfd is not woken to submit again',
     '		dp_punch_tick(&part->job->jobs->punch, DP_TICK_LONG);',
     '		;'),
    ('blocks-wait-to-be-woken', ['tests/unit/pool_falloc'], 'lib/pool/falloc.c',
     'W12: an allocation hangs on a kernel that does not wake it',
     '		if (!*failed && dp_os_now_ns() < backoff->at_ns)\n',
     '		if (!*failed)\n',
     'an_allocation_does_not_hang_after_a_lost_wakeup'),
    ('look-again-too-early', ['tests/unit/pool_falloc'], 'lib/util/backoff.h',
     'W12: a request that has not begun is cancelled sooner than any begins',
     'unbegun ? DP_BACKOFF_BUSY_NS :',
     'unbegun ? DP_BACKOFF_FIRST_NS :',
     'an_allocation_that_starts_late_is_retried_with_more_time'),
    ('blocks-deadline-ignored', ['tests/unit/pool_falloc'], 'lib/pool/falloc.c',
     'an allocation that waits for pins cannot be ended',
     '			*failed = go_on(arg);',
     '			go_on(arg);',
     'a_waiting_allocation_ends_when_its_caller_stops_waiting'),
    ('look-after-the-deadline', sim('reclaim-busy'), 'lib/reclaim/part.c',
     'W12: after the deadline a request is ended before its second has passed',
     'if (!early && !job->cancelled && now_ns < part->request.cancel_ns) {',
     'if (!part->next_cancel_ns) {'),
    ('look-is-the-deadline', sim('reclaim-busy'), 'lib/reclaim/part.c',
     'W12: a request that is cancelled to be submitted again returns -ETIMEDOUT',
     '	part->looked |= early;',
     '	part->looked |= false;'),
]
