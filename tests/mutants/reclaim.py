# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in reclaim and refill: in what prevents a punch, in the state of chunks after it,
and in events. Those that break a rule are in invariants.py."""

TEST = ['tests/unit/reclaim_job']

MUTANTS = [
    # ------------------------------------------------- what prevents a punch
    ('reclaim-plain-registration', TEST, 'lib/extent/holders.c',
     'A6: a registration without a pin for each segment is ignored',
     '''	if (!at->pin)
		return true;''',
     '''	if (!at->pin)
		return false;'''),
    ('reclaim-still-wanted', TEST, 'lib/reclaim/part.c',
     'a pin stays wanted when no job waits for it any more',
     '	dp_registrations_unwant(jobs->holders, part->report.segment);\n',
     ''),
    # --------------------------------------------------- what becomes of chunks
    ('reclaim-partly-free', TEST, 'lib/reclaim/hole.c',
     'A9: a job tries again and again to claim a chunk that is used in part',
     '''				chunk * DP_CHUNK_BLOCKS, DP_CHUNK_BLOCKS);
}''',
     '''				chunk * DP_CHUNK_BLOCKS, 1);
}''',
     'chunks_that_begin_free_are_no_candidates'),
    ('refill-not-free', TEST, 'lib/reclaim/hole.c',
     'refilled space is never reserved',
     '''	dp_spaces_free_uncached(holes->spaces, hole_block(holes, segment, chunk),
				DP_CHUNK_BLOCKS);
}''',
     '}'),
    ('refill-without-pages', TEST, 'lib/reclaim/punch.c',
     'kernel.md K19: on tmpfs a refilled chunk is taken for a hole at open',
     'sqe->fadvise_advice = MADV_POPULATE_WRITE;',
     'sqe->fadvise_advice = MADV_NORMAL;'),
    ('refill-half-settled', TEST, 'lib/reclaim/part.c',
     'chunks that were refilled before the filesystem was full stay holes',
     'if (part->job->kind == DP_JOB_RECLAIM || !part_runs_done(part)) {',
     'if (part->job->kind == DP_JOB_RECLAIM || part_error(part)) {'),
    ('refill-one-answer-for-all', TEST, 'lib/reclaim/part.c',
     'a run that was done after one that failed counts as failed too',
     '	part->result[completion->run] = completion->result;\n',
     """	part->result[completion->run] = completion->run && part->result[0] ?
				    part->result[0] : completion->result;
""",
     'refill_continues_after_a_run_that_does_not_fit'),
    ('reclaim-budget', TEST, 'lib/reclaim/part.c',
     'more is punched than requested',
     '		part->job->budget -= part->run[i].chunks;\n',
     '		part->job->budget -= 0;\n'),
    ('reclaim-floor', TEST, 'lib/reclaim/part.c',
     'space that was to stay free is reclaimed too',
     '(free - job->keep_blocks) / DP_CHUNK_BLOCKS',
     'free / DP_CHUNK_BLOCKS'),
    # ------------------------------------------------------------ ---- events
    ('reclaim-refused-not-told', TEST, 'lib/extent/event.c',
     'a refused call never gets a RETRY',
     '		dp_events_post(events, &events->retry);',
     '		;'),
    ('reclaim-job-not-told', TEST, 'lib/reclaim/part.c',
     'the end of a job queues no event',
     '	dp_events_post(jobs->events, &job->over);\n',
     ''),
    ('reclaim-event-stays', TEST, 'lib/reclaim/job.c',
     'the event of a freed job stays queued',
     '	dp_events_withdraw(jobs->events, &job->over);\n',
     ''),
    ('reclaim-fd-silent', TEST, 'lib/reclaim/part.c',
     'a thread that sleeps on the eventfd is not woken while a job waits for holds',
     '		dp_punch_tick(&part->job->jobs->punch, DP_TICK_SHORT);',
     '		;'),
    ('half-backed-not-seen', TEST, 'lib/pool/source.c',
     'the space of a refill whose owner was killed is never given back',
     '			map->chunk[i] |= DP_CHUNK_PARTIAL;',
     '			map->chunk[i] |= 0;',
     'half_backed_chunks_are_reclaimed'),
    ('half-backed-needs-free', TEST, 'lib/reclaim/hole.c',
     'a chunk of unknown state is skipped if none of it is free',
     '	if (flags & DP_CHUNK_PARTIAL)\n		return true;',
     '	if (spare && flags & DP_CHUNK_PARTIAL)\n		return true;',
     'half_backed_chunks_are_reclaimed'),
]
