# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in what is asked of io_uring and made of its answers, which the simulator
must catch on a machine whose kernel completes requests in any order."""


def sim(kind):
    return ['tests/sim/sim', '--stop', '--kind', kind]


MUTANTS = [
    # ------------------------------------------------- what an answer means
    ('punch-interrupted-is-done', sim('reclaim-cancelled'),
     'lib/reclaim/part.c',
     'A7: a punch that was interrupted is taken for done',
     '''	if (!part->result[run])
		return DP_WAY_DONE;''',
     '''	if (!part->result[run] || dp_ring_was_interrupted(part->result[run]))
		return DP_WAY_DONE;'''),
    ('punch-failed-is-undone', sim('reclaim-failing'), 'lib/reclaim/part.c',
     'D9: a punch that failed half way is taken for not begun',
     '''	return part->job->way == DP_WAY_RECLAIM &&
	       dp_ring_was_interrupted(part->result[run]) ?''',
     '''	return part->job->way == DP_WAY_RECLAIM ?'''),
    ('refill-in-part-is-done', sim('refill-full'), 'lib/reclaim/part.c',
     'D9: a refill that ran out of space is taken for done',
     '''	if (!part->result[run])
		return DP_WAY_DONE;''',
     '''	if (!part->result[run] || part->result[run] == -ENOSPC)
		return DP_WAY_DONE;'''),
    ('restart-code-is-an-error', sim('reclaim-cancelled'), 'lib/os/ring.c',
     'A7: the code of a kernel that leaks it is taken for a failed punch',
     '''	return result == -EINTR || result == -ECANCELED ||
	       (result <= -512 && result >= -516);''',
     '''	return result == -EINTR || result == -ECANCELED;'''),
    # ------------------------------------------------- whose answer it is
    ('answer-of-another-part', sim('reclaim-parts'), 'lib/reclaim/part.c',
     'an answer is taken for that of another part',
     '''		if (jobs->in_kernel[i] &&
		    jobs->in_kernel[i]->request.attempt == answer->attempt)''',
     '''		if (jobs->in_kernel[i])'''),
    ('answer-of-another-run', sim('reclaim-failing'), 'lib/reclaim/part.c',
     'an answer is taken for that of another run of the part',
     '	part->result[answer->run] = answer->result;',
     '	part->result[part->pending] = answer->result;'),
    # ------------------------------------------------- when it is over
    ('deadline-without-an-answer', sim('reclaim-late'), 'lib/reclaim/part.c',
     'I7: at the deadline chunks are free, and the kernel may still punch them',
     '''	part->again_ns = now_ns + STEP_NS;
	dp_punch_cancel(punch, &part->request);''',
     '''	dp_punch_cancel(punch, &part->request);
	for (uint32_t i = 0; i < part->request.runs; i++)
		part->result[i] = -ECANCELED;
	part->pending = 0;
	part_after_kernel(part);'''),
    ('first-answer-ends-all', sim('reclaim-parts'), 'lib/reclaim/part.c',
     'I7: a part is over when the first of its runs is answered',
     '''	part->result[answer->run] = answer->result;
	if (!part->pending)''',
     '''	part->result[answer->run] = answer->result;
	part->pending = 0;'''),
    ('punch-of-free', sim('reclaim'), 'lib/reclaim/hole.c',
     'I7: what is punched can be reserved meanwhile',
     '''	atomic_fetch_add(&holes->claimed, 1);
	return true;''',
     '''	atomic_fetch_add(&holes->claimed, 1);
	if (*flags & DP_CHUNK_BACKED)
		dp_space_free(&holes->space[segment],
			      chunk * DP_CHUNK_BLOCKS, DP_CHUNK_BLOCKS);
	return true;'''),
    ('refill-free-when-asked', sim('refill'), 'lib/reclaim/part.c',
     'D9: a chunk is handed out before its refill is answered',
     '	dp_punch_ask(&job->jobs->punch, &part->request);',
     '''	dp_punch_ask(&job->jobs->punch, &part->request);
	if (job->way == DP_WAY_REFILL)
		dp_space_free(&job->jobs->holes.space[part->report.segment],
			      part->run[0].chunk * DP_CHUNK_BLOCKS,
			      DP_CHUNK_BLOCKS);'''),
    ('refill-not-durable', sim('refill'), 'lib/reclaim/part.c',
     'D9: after a power cut what was published in a refilled chunk is a hole',
     'if (part->job->way == DP_WAY_RECLAIM || !part_runs_done(part)) {',
     'if (part->job->way == DP_WAY_RECLAIM || part_runs_done(part)) {'),
    # ------------------------------------------------- the layout barrier
    ('barrier-not-awaited', sim('barrier'), 'lib/owner/barrier.c',
     'D8: an open does not wait until no page is pinned',
     '		ret = barrier_pass_all(p);\n',
     '		ret = p->barrier->files ? 0 : barrier_pass_all(p);\n'),
    ('barrier-interrupted-is-passed', sim('barrier'), 'lib/owner/barrier.c',
     'D8: a barrier that was interrupted is taken for passed',
     '''	if (!cqe->res) {
		p->passed++;''',
     '''	if (!cqe->res || dp_ring_was_interrupted(cqe->res)) {
		p->passed++;'''),
]
