# SPDX-License-Identifier: BSD-3-Clause
"""Bugs about giving space back: in who must be out of the way, in what becomes
of chunks, and in who is told."""

TEST = ['tests/unit/test_reclaim']

MUTANTS = [
    # ------------------------------------------------- who is out of the way
    ('reclaim-no-count', TEST, 'lib/job.c',
     'A1: what is held is not looked at',
     'busy = dp_segment_busy(jobs->leases, segment);',
     'busy = 0;'),
    ('reclaim-pin-not-asked', TEST, 'lib/job.c',
     'A6: a registration keeps its pin through a punch',
     '''	if (!busy && !dp_registrations_want(jobs->holders, segment,
					    jobs->events, &part->report.holder,
					    part->label))''',
     '	if (!busy)'),
    ('reclaim-plain-registration', TEST, 'lib/holder.c',
     'A6: one that is not by segment counts as nothing',
     '''	if (!at->pin)
		return true;''',
     '''	if (!at->pin)
		return false;'''),
    ('reclaim-pin-meanwhile', TEST, 'lib/job.c',
     'A6: a pin is given while the segment is being reclaimed',
     '!dp_holes_any(&jobs->holes, segment) && !is_wanted(jobs, segment)',
     '!dp_holes_any(&jobs->holes, segment)'),
    ('reclaim-pin-in-hole', TEST, 'lib/job.c',
     'a segment with holes is pinned, which fills them',
     '!dp_holes_any(&jobs->holes, segment) && !is_wanted(jobs, segment)',
     '!is_wanted(jobs, segment)'),
    ('reclaim-still-wanted', TEST, 'lib/job.c',
     'a pin is asked for when nobody waits for it any more',
     '	dp_registrations_unwant(jobs->holders, part->report.segment);\n',
     ''),
    # --------------------------------------------------- what becomes of chunks
    ('reclaim-not-claimed', TEST, 'lib/hole.c',
     'I7: a chunk is punched while its blocks can be reserved',
     '''	if (*flags & DP_CHUNK_BACKED &&
	    !dp_space_claim_at(''',
     '''	if (*flags & DP_CHUNK_BACKED && 0 &&
	    !dp_space_claim_at('''),
    ('reclaim-partly-free', TEST, 'lib/hole.c',
     'I7: a chunk that is used in part is punched',
     '''		if (!dp_space_is_free(&holes->space[segment], block + i))
			return false;''',
     '''		if (dp_space_is_free(&holes->space[segment], block + i))
			return true;'''),
    ('reclaim-hole-is-free', TEST, 'lib/hole.c',
     'D9: a hole is handed out',
     'end == DP_WAY_DONE && way == DP_WAY_REFILL;',
     'end == DP_WAY_DONE;'),
    ('refill-not-free', TEST, 'lib/hole.c',
     'what was refilled is not handed out',
     '''	dp_space_free(&holes->space[segment], chunk * DP_CHUNK_BLOCKS,
		      DP_CHUNK_BLOCKS);
}''',
     '}'),
    ('refill-without-pages', TEST, 'lib/punch.c',
     'KERNEL 0.17: on tmpfs what was refilled looks like a hole at open',
     'sqe->fadvise_advice = MADV_POPULATE_WRITE;',
     'sqe->fadvise_advice = MADV_NORMAL;'),
    ('reclaim-budget', TEST, 'lib/job.c',
     'more is punched than was asked for',
     '		job->budget -= part->run[i].chunks;\n',
     '		job->budget -= 0;\n'),
    ('reclaim-floor', TEST, 'lib/job.c',
     'what was to stay free goes too',
     '(free - job->keep_blocks) / DP_CHUNK_BLOCKS',
     'free / DP_CHUNK_BLOCKS'),
    # ------------------------------------------------------------ who is told
    ('reclaim-gate-stays', TEST, 'lib/job.c',
     'a segment that was busy keeps its gate shut',
     '''	dp_gate_open(jobs->leases, segment);
	dp_jobs_tell_refused(jobs);
	if (busy)''',
     '''	dp_jobs_tell_refused(jobs);
	if (busy)'''),
    ('reclaim-refused-not-told', TEST, 'lib/job.c',
     'who was refused is never told',
     '		dp_events_post(jobs->events, &jobs->retry_notice);',
     '		;'),
    ('reclaim-job-not-told', TEST, 'lib/job.c',
     'nobody is told that a job is over',
     '	dp_events_post(jobs->events, &job->over);\n',
     ''),
    ('reclaim-event-stays', TEST, 'lib/job.c',
     'a job that was freed is still an event',
     '	dp_events_withdraw(jobs->events, &job->over);\n',
     ''),
    ('reclaim-fd-silent', TEST, 'lib/job.c',
     'who sleeps on the eventfd is not woken while a job waits for holds',
     '		dp_punch_tick(punch);',
     '		;'),
    ('reclaim-close', TEST, 'lib/daxpin.c',
     'a pool is closed with a job under way',
     ''' ||
	    atomic_load(&pool->jobs.count)) {''',
     ') {'),
    ('reclaim-enospc', TEST, 'lib/extent.c',
     'a reserve that a refill would help is told that there is no space',
     'return ret == -ENOSPC ? -EAGAIN : ret;',
     'return ret;'),
]
