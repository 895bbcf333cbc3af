# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in what daxpin keeps in memory: generations, holds, counters, gates, waits.
The rule that each breaks is in docs/invariants.md, which names these mutants.
The last item is the test that must fail."""

GENERATION = ['tests/unit/extent_state']
WAIT = ['tests/unit/extent_event']
RULES = ['tests/unit/api_rules']
RECLAIM = ['tests/unit/reclaim_job']
POOL = ['tests/unit/api_pool']
BLOCKS = ['tests/unit/pool_blocks']
DAMAGE = ['tests/unit/pool_damage']
DEGRADED = ['tests/unit/core_degraded']
REMAINS = ['tests/unit/pool_remains']
OTHERS = ['tests/unit/pool_others']
AUDIT = ['tests/unit/check_audit']
REPAIR = ['tests/unit/check_repair']
URING = ['tests/unit/uring_attach', 'shmem']
SHARE = ['tests/unit/uring_share', 'shmem']
ABANDON = ['tests/unit/uring_abandon', 'shmem']
REVOKE = ['tests/unit/rdma_revoke']
OUTSIDE = ['tests/unit/pool_outside']
EPOCH = ['tests/unit/pool_epoch']
GROW = ['tests/unit/pool_grow']
CHECK_SLABS = ['tests/unit/check_slabs']
DEFRAG = ['tests/unit/pool_defrag']
SHUTDOWNS = ['tests/unit/media_shutdowns']
HOLDER = ['tests/unit/owner_lock_holder']
LEFTOVERS = ['tests/unit/check_leftovers']
POLLED = ['tests/unit/os_short_lock']
WINDOW = ['tests/unit/rdma_window']
OWNER = ['tests/unit/owner_owner']
PLACE = ['tests/unit/owner_place']
NETLINK = ['tests/unit/owner_rdma_netlink']
REGISTER = ['tests/unit/api_register_rdma']
ERRMSG = ['tests/unit/api_errmsg']
PUBLISH = ['tests/unit/core_publish']
RETRY = ['tests/unit/api_retry']
CANCEL = ['tests/unit/api_cancel']
FORK = ['tests/unit/api_fork']
OBJECTS = ['tests/unit/api_objects']
SLABS = ['tests/unit/extent_objects']
STATUS = ['tests/unit/pool_status']
STRESS = ['tests/stress/stress', '--seconds', '30', '--seed', '1']

CELLS = 'every_cell_of_the_table'
ONE_GENERATION = 'no_block_has_two_generations_at_once'

MUTANTS = [
    # --------------------------------------------------- what a generation is (I1-I7)
    ('retire-frees-held', GENERATION, 'lib/extent/state_word.h',
     'RETIRE frees an extent that is held',
     '''	if (!dp_word_count(word))
		return dp_word_next_generation(word);
	return dp_word_with_state''',
     '''	if (word)
		return dp_word_next_generation(word);
	return dp_word_with_state''',
     'a_retired_extent_is_reused_only_after_the_last_drop'),
    ('claim-leaves-bits', GENERATION, 'lib/extent/bits.c',
     'reserved blocks stay free',
     'bits_store(bits, word, was ^ mask);',
     'bits_store(bits, word, free ? was ^ mask : was);',
     CELLS),
    ('registered-is-busy', RULES, 'lib/api/hold.c',
     'a pin counts as a hold',
     '''	return ret ? ret : !view.count;''',
     '''	return ret ? ret : !view.count &&
			   !dp_registration_count(&pool->holders);''',
     'a_registration_does_not_count_as_a_hold'),
    ('idle-when-retired', GENERATION, 'lib/api/hold.c',
     'only a retired extent can be idle',
     '''	return ret ? ret : !view.count;''',
     '''	return ret ? ret : !view.count && view.state == DP_STATE_RETIRED;''',
     CELLS),
    ('reserve-counts', GENERATION, 'lib/extent/state.h',
     'a new extent has a count of one',
     '''dp_word_idle(generation, DP_STATE_RESERVED),
			      memory''',
     '''dp_word_idle(generation, DP_STATE_RESERVED) + (1 << 6),
			      memory''',
     CELLS),
    ('hold-of-retired', GENERATION, 'lib/extent/state_word.h',
     'a retired extent can be held',
     '''	int ret = dp_word_refuses(word, generation);

	assert(count <= DP_COUNT_MAX);
''',
     '''	int ret = dp_word_refuses(word, generation);

	if (ret == -EALREADY)
		ret = 0;
''',
     CELLS),
    ('hold-of-retired-raced', STRESS, 'lib/extent/state_word.h',
     'the same, found by threads',
     '''	int ret = dp_word_refuses(word, generation);

	assert(count <= DP_COUNT_MAX);
''',
     '''	int ret = dp_word_refuses(word, generation);

	if (ret == -EALREADY || ret == -ESTALE)
		ret = 0;
''',
     ONE_GENERATION),
    ('request-without-hold', URING, 'lib/uring/prep.c',
     'the hold of a request ends when it is prepared',
     '''	io->vec_count = 0;
''',
     '''	io->vec_count = 0;
	daxpin_drop(uring->pool, extent);
''',
     'a_retired_extent_is_not_reused_during_a_read'),
    ('refused-keeps-user-data', ['tests/unit/uring_prep', 'shmem'], 'lib/uring/prep.c',
     'the no-op of a request that was refused looks like an earlier request',
     '	sqe->user_data = 0;',
     '	;',
     'a_bad_send_is_refused'),
    ('abort-leaves-the-request', ['tests/unit/uring_prep', 'shmem'], 'lib/uring/prep.c',
     'the next submit sends a request whose hold has ended',
     '''	if (sqe)
		prep_make_nop(sqe);
	return prep_end(io);''',
     '''	(void)sqe;
	return prep_end(io);''',
     'a_bad_send_is_refused'),
    ('cancelled-keeps-its-hold', URING, 'lib/uring/prep.c',
     'the hold of a request that was cancelled never ends',
     '''	ret = prep_end(io);
	return ret ? ret : 1;''',
     '''	ret = cqe->res == -ECANCELED ? 0 : prep_end(io);
	return ret ? ret : 1;''',
     'a_cancelled_read_ends_its_hold_at_the_cqe'),

    ('revoke-drops-first', REVOKE, 'lib/rdma/revoke.c',
     'a grant drops its hold before the device has answered',
     '''	int ret = dp_escalate(grant), drop_ret = 0;

	if (!ret) {
		/* No request of the peer can access the extent any more. */
		dp_backing_close(grant, true);
		drop_ret = revoke_drop_hold(grant);
	}
''',
     '''	int drop_ret = revoke_drop_hold(grant), ret = dp_escalate(grant);

''',
     'the_hold_is_dropped_after_the_device_ended_the_region'),
    ('refused-is-over', REVOKE, 'lib/rdma/escalate.c',
     'the last step of the escalation frees the blocks',
     '''		ret = escalate_count_refusal(grant, escalate_close_once(grant));
	}
	return ret;
}''',
     '''		ret = escalate_count_refusal(grant, escalate_close_once(grant));
	}
	grant->access.own_mr = NULL;
	return 0;
}''',
     'a_grant_whose_region_the_device_keeps_is_quarantined'),

    # ------------------------------------------------------ memory windows (A6)
    ('window-of-the-untrusted', WINDOW, 'lib/rdma/access.c',
     'windows are used whatever the trial found',
     'accesses->use_window2 = dp_rdma_trusts(&report->window2);',
     'accesses->use_window2 = report->window2.verdict;',
     'windows_that_failed_the_trial_are_not_used'),
    ('window-over-the-segment', WINDOW, 'lib/rdma/access.c',
     'a window is as long as the region under it',
     '		.length = grant->key.length,',
     '		.length = parent->length,',
     'a_grant_with_a_queue_pair_is_a_type_2_window'),
    ('window-by-an-open-region', WINDOW, 'lib/rdma/local_key.c',
     'the region under the windows is itself accessible to peers',
     'access |= IBV_ACCESS_MW_BIND;',
     'access |= IBV_ACCESS_MW_BIND | IBV_ACCESS_REMOTE_WRITE;',
     'a_grant_with_a_queue_pair_is_a_type_2_window'),
    ('window-for-what-was-not-tried', WINDOW, 'lib/rdma/access.c',
     'a window gives access for atomics, which the trial did not test',
     'if (access & ~(WINDOW_ACCESS | IBV_ACCESS_LOCAL_WRITE))',
     'if (access & ~(WINDOW_ACCESS | IBV_ACCESS_REMOTE_ATOMIC))',
     'access_that_the_trial_did_not_cover_gets_a_region'),
    ('window-of-another-domain', WINDOW, 'lib/rdma/grant.c',
     'a grant is made for a queue pair of another protection domain',
     'if (o->qp && o->qp->pd != rdma->pd)',
     'if (false)',
     'a_queue_pair_of_another_domain_is_refused'),
    ('window-refused-is-over', WINDOW, 'lib/rdma/access.c',
     'a window that the device refuses to end is forgotten',
     '''	if (ret)
		return ret;
	grant->access.own_mw = NULL;
	dp_local_key''',
     '''	ret = 0;
	grant->access.own_mw = NULL;
	dp_local_key''',
     'a_window_that_the_device_does_not_free_is_quarantined'),
    ('lost-window-drops', WINDOW, 'lib/rdma/grant.c',
     'the hold is dropped although the device keeps a window',
     '	if (!ret || *ret_kept)\n		return ret;',
     '	if (!ret)\n		return ret;',
     'a_window_that_is_neither_bound_nor_freed_keeps_the_hold'),
    ('lent-region-ends', WINDOW, 'lib/rdma/local_key.c',
     'a region is deregistered under its windows',
     '	if (slot->lent)\n		return 0;',
     '	if (slot->lent > 1)\n		return 0;',
     'a_segments_region_is_kept_while_it_has_windows'),
    ('window-on-a-broken-connection', WINDOW, 'lib/rdma/access.c',
     'the next bind takes the completion of the previous one',
     '		accesses->is_broken = ret != 0;', '		accesses->is_broken = false;',
     'a_failed_bind_is_counted_and_replaced_by_a_region'),
    ('window-freed-while-binding', WINDOW, 'lib/rdma/access.c',
     'a freed window is bound, because another has its number',
     '	if (grant->access.via != DAXPIN_GRANT_VIA_MW1)\n		return -EINPROGRESS;',
     '	if (grant->access.via != DAXPIN_GRANT_VIA_MW1)\n		return 0;',
     'a_pending_bind_is_flushed_before_its_window_is_freed'),
    ('bind-flushed-elsewhere', WINDOW, 'lib/rdma/access.c',
     "an error of any queue pair is taken for an error of the bind's",
     '	if (atomic_load(&grant->access.bind_qp) == qp)\n',
     '	if (qp)\n',
     'flushing_another_queue_pair_does_not_end_a_pending_bind'),
    ('bind-lost-with-its-connection', WINDOW, 'lib/rdma/access.c',
     'a connection that is lost is taken for one that was reset',
     '		if (!access_reconnect(accesses))\n			atomic_store',
     '		if (!ret)\n			atomic_store',
     'a_connection_lost_during_a_bind_keeps_the_hold'),

    # ----------------------------------------------- what counts (I8, I11, I37)
    ('busy-skipped-unregistered', GENERATION, 'lib/api/pool.c',
     'holds are not read if nothing is registered',
     '''	if (pool_is_busy(pool) || dp_registration_count(&pool->holders) ||
	    atomic_load(&pool->jobs.count)) {''',
     '''	if (dp_registration_count(&pool->holders)) {''',
     CELLS),
    ('registered-pool-closes', RULES, 'lib/api/pool.c',
     'a pool that is registered is unmapped',
     '''	if (pool_is_busy(pool) || dp_registration_count(&pool->holders) ||
	    atomic_load(&pool->jobs.count)) {''',
     '''	if (pool_is_busy(pool) || atomic_load(&pool->jobs.count)) {''',
     'a_pool_with_a_registration_does_not_close'),
    ('label-without-hold', GENERATION, 'lib/api/hold.c',
     'a labelled hold is only a label',
     '''	ret = daxpin_hold(pool, extent, access & ~DAXPIN_HOLD_GRANT);
	if (ret)
		return ret;
	hold->extent = extent;''',
     '''	ret = daxpin_hold(pool, extent, access & ~DAXPIN_HOLD_GRANT);
	if (ret)
		return ret;
	daxpin_drop(pool, extent);
	hold->extent = extent;''',
     'daxpin_holds_names_labelled_holders'),
    ('clone-not-counted', RULES, 'lib/extent/state.c',
     'a clone uses the hold that it was made of',
     '''	} while (!state_swap(states, block, &word,
			     dp_word_with_holds(word, 1,
					     write ? DP_HOLD_WRITE : 0)));''',
     '''	} while (!state_swap(states, block, &word, word));
	(void)write;''',
     'every_kind_of_hold_keeps_an_extent_busy'),
    ('registrations-are-holds', GENERATION, 'lib/api/hold.c',
     'holds and pins are counted together',
     '''	return view.count;
}''',
     '''	return view.count + dp_registration_count(&pool->holders);
}''',
     'daxpin_holds_names_labelled_holders'),
    ('drain-opens-its-gates', GENERATION, 'lib/api/pool.c',
     'a drained pool grants holds again',
     '''		step_ns = dp_min(step_ns * 2, 5000000);
	}
	return 0;''',
     '''		step_ns = dp_min(step_ns * 2, 5000000);
	}
	pool_open_gates(pool);
	return 0;''',
     'drain_refuses_holds_and_times_out'),
    ('drain-leaves-gates-closed', STRESS, 'lib/api/pool.c',
     'a drain that gave up leaves the gates closed',
     '''		if (dp_os_now_ns() >= deadline_ns) {
			pool_open_gates(pool);''',
     '''		if (dp_os_now_ns() >= deadline_ns) {''',
     ONE_GENERATION),

    # ------------------------------------------------ the free value (I13-I20)
    ('free-with-a-flag', GENERATION, 'lib/extent/state_word.h',
     'a freed word keeps the publishing bit',
     '''	if (!dp_word_count(word))
		return dp_word_next_generation(word);
	return dp_word_with_state''',
     '''	if (!dp_word_count(word))
		return dp_word_next_generation(word) | (word & DP_WORD_PUBLISHING);
	return dp_word_with_state''',
     CELLS),
    ('free-with-a-count', GENERATION, 'lib/extent/state_word.h',
     'the last drop frees a word that still counts',
     '''		return dp_word_next_generation(word);
	return left''',
     '''		return dp_word_next_generation(word) + DP_WORD_COUNT_ONE;
	return left''',
     CELLS),
    ('bits-before-word', STRESS, 'lib/extent/state.h',
     'blocks are free shortly before their last generation has ended',
     '''	to = dp_word_without_holds(word, dropped);
	if (!dp_state_swap(at, &word, to))
		return DP_STATE_UNDECIDED;''',
     '''	to = dp_word_without_holds(word, dropped);
	if (dp_word_state(to) == DP_STATE_FREE) {
		dp_spaces_free(states->spaces, block, dp_state_blocks(states, block));
		dp_os_sleep_ns(20000);
		if (!dp_state_swap(at, &word, to))
			return DP_STATE_UNDECIDED;
		dp_state_now_idle(states, block, word, slot);
		return dropped;
	}
	if (!dp_state_swap(at, &word, to))
		return DP_STATE_UNDECIDED;''',
     ONE_GENERATION),
    ('add-then-look', STRESS, 'lib/extent/state.h',
     'a hold counts first, and subtracts if it may not hold',
     '''	uint64_t word = atomic_load_explicit(at, memory_order_acquire);
	uint64_t segment''',
     '''	/* The sleep lets another thread run between the two, on one processor too. */
	uint64_t word = (atomic_fetch_add(at, DP_WORD_COUNT_ONE), dp_os_sleep_ns(1000),
			 atomic_fetch_sub(at, DP_WORD_COUNT_ONE) - DP_WORD_COUNT_ONE);
	uint64_t segment''',
     ONE_GENERATION),
    ('freed-when-idle', GENERATION, 'lib/extent/state_word.h',
     'any drop to zero ends the generation',
     '''	if (dp_word_state(word) == DP_STATE_RETIRED)
		return dp_word_next_generation(word);
	return left''',
     '''	if (word)
		return dp_word_next_generation(word);
	return left''',
     CELLS),
    ('freed-twice', GENERATION, 'lib/extent/state.c',
     'both the retire and the last drop free the blocks',
     '''	if (dp_word_state(now) == DP_STATE_FREE)
		dp_state_free_blocks''',
     '''	if (dp_word_state(now) == DP_STATE_FREE ||
	    dp_word_state(now) == DP_STATE_RETIRED)
		dp_state_free_blocks''',
     CELLS),
    ('cancel-of-another-epoch', GENERATION, 'lib/extent/state.h',
     'a cancel ignores the epoch of the handle',
     '	if (generation > DP_GENERATION_MASK ||',
     '	if (',
     'a_cancel_with_a_handle_of_an_earlier_open_is_stale'),
    ('child-has-the-pool', WAIT, 'lib/extent/state.c',
     'the number of blocks is the same in a forked child',
     'ret = dp_os_advise(page, size, MADV_WIPEONFORK);', 'ret = 0;',
     'calls_in_a_forked_child_are_refused'),
    ('freed-without-a-new-generation', GENERATION, 'lib/extent/state_word.h',
     'a freed block begins the same generation again',
     '''	return dp_word_idle((dp_word_generation(word) + 1) &''',
     '''	return dp_word_idle(dp_word_generation(word) &''',
     'a_handle_never_names_the_next_generation'),
    ('drop-frees-without-a-new-generation', STRESS, 'lib/extent/state_word.h',
     'the last drop frees the block but keeps its generation, so old handles match',
     '''		return dp_word_next_generation(word);
	return left''',
     '''		return dp_word_with_state(left, DP_STATE_FREE);
	return left''',
     ONE_GENERATION),
    ('size-of-the-last-generation', RULES, 'lib/extent/state.h',
     'a block keeps the length of the extent that began at it before',
     '''	atomic_store_explicit(&state->blocks, blocks, memory_order_relaxed);''',
     '''	if (!state->blocks)
		atomic_store_explicit(&state->blocks, blocks, memory_order_relaxed);''',
     'the_next_generation_has_its_own_length'),
    ('the-end-is-not-zeroed', RULES, 'lib/media/persist.c',
     'the last cache line of a large extent keeps bytes of the last generation',
     '''		persist_zero_past(persist, to, size);
}

/* Keep the first error. */''',
     '''		persist_zero_past(persist, to, size - 64);
}

/* Keep the first error. */''',
     'the_next_generation_is_zeroed_on_request'),
    ('run-one-short', RULES, 'lib/extent/runs.c',
     'a run that is one block too short is reserved',
     '''	uint32_t node = runs_find(runs, blocks);''',
     '''	uint32_t node = runs_find(runs, blocks - (blocks > 1));''',
     'a_reserve_does_not_join_separate_free_blocks'),

    # ----------------------------------------------- wake-ups (I21, I38, I44)
    ('wake-at-free-only', WAIT, 'lib/extent/state.c',
     'a drop to zero wakes waiters only if it ends the generation',
     '''	if (was & DP_WORD_WAITERS && !(now & DP_WORD_WAITERS))
		state_wake''',
     '''	if (was & DP_WORD_WAITERS && !(now & DP_WORD_WAITERS) &&
	    dp_word_state(now) == DP_STATE_FREE)
		state_wake''',
     'a_drop_wakes_every_waiter'),
    ('wake-one', WAIT, 'lib/os/os.c',
     'only one of several waiters is woken',
     'FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX,',
     'FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1,',
     'a_drop_wakes_every_waiter'),
    ('no-wake-at-free', WAIT, 'lib/extent/state.c',
     'the drop that ends a generation wakes no waiter',
     '''	if (was & DP_WORD_WAITERS && !(now & DP_WORD_WAITERS))
		state_wake''',
     '''	if (was & DP_WORD_WAITERS && !(now & DP_WORD_WAITERS) &&
	    dp_word_state(now) != DP_STATE_FREE)
		state_wake''',
     'the_end_of_a_generation_wakes_its_waiters'),
    ('other-key', WAIT, 'lib/extent/state.c',
     'waiter and waker use different words as the futex',
     '''	dp_os_futex_wake(state_word(states, block));''',
     '''	dp_os_futex_wake((char *)state_word(states, block) + 4);''',
     'a_drop_wakes_every_waiter'),
    ('no-look-after-waking', WAIT, 'lib/extent/state.c',
     'a woken waiter returns without testing the word again',
     '''				 deadline_ns);
	}
	return 0;''',
     '''				 deadline_ns);
		break;
	}
	return 0;''',
     'a_wait_continues_after_a_spurious_wake'),
    ('watch-not-told', WAIT, 'lib/extent/event.c',
     'an event is queued without a signal to an armed eventfd',
     '''	if (any)
		event_signal_if_armed(events);''',
     '''	(void)any;''',
     'a_watch_gives_one_event'),

    # ------------------------------------ counter and gate (I23-I32, D13, D16)
    ('hold-without-counter', GENERATION, 'lib/extent/state.h',
     'a hold does not change the counter',
     '''	if (!had)
		dp_gate_raise_inc(&states->gates, segment, slot);
''',
     '''''',
     CELLS),
    ('lost-race-keeps-inc', STRESS, 'lib/extent/state.h',
     'a hold whose CAS did not change 0 to 1 leaves the counter too high',
     '''		dp_gate_raise_inc(&states->gates, segment, slot);
	if (!dp_state_swap(at, &word, dp_word_with_holds(word, count, flags)))
		return had ? DP_STATE_UNDECIDED : DP_STATE_RAISED;''',
     '''		dp_gate_raise_inc(&states->gates, segment, slot);
	if (!had)
		dp_os_sleep_ns(1000);
	if (!dp_state_swap(at, &word, dp_word_with_holds(word, count, flags)))
		return DP_STATE_UNDECIDED;''',
     ONE_GENERATION),
    ('close-of-held', GENERATION, 'lib/api/pool.c',
     'a pool is unmapped while something is held',
     '''	if (pool_is_busy(pool) || dp_registration_count(&pool->holders) ||
	    atomic_load(&pool->jobs.count)) {''',
     '''	if (dp_registration_count(&pool->holders) ||
	    atomic_load(&pool->jobs.count)) {''',
     CELLS),
    ('clone-revives', GENERATION, 'lib/extent/state.c',
     'a clone counts up from zero, without the counter and the gate',
     '''		if (!dp_word_count(word))
			return -EINVAL;
		if (word & DP_WORD_EXCLUSIVE)''',
     '''		if (word & DP_WORD_EXCLUSIVE)''',
     CELLS),
    ('gate-not-looked-at', GENERATION, 'lib/extent/state.h',
     'a hold ignores the gate',
     '''	return dp_gate_is_closed(&states->gates, segment) ? DP_STATE_GATE_CLOSED : 0;''',
     '''	return 0;''',
     CELLS),
    ('gate-not-looked-at-raced', STRESS, 'lib/extent/state.h',
     'the same, found by a drain',
     '''	return dp_gate_is_closed(&states->gates, segment) ? DP_STATE_GATE_CLOSED : 0;''',
     '''	return 0;''',
     ONE_GENERATION),
    ('gate-before-cas', STRESS, 'lib/extent/state.h',
     'a hold reads the gate, then counts',
     '''	uint64_t segment = block >> states->block_shift;
	bool had''',
     '''	uint64_t segment = block >> states->block_shift;
	bool was_open = !dp_gate_is_closed(&states->gates, segment) &&
			(dp_os_sleep_ns(1000), word = atomic_load(at), true);
#define dp_gate_is_closed(gates, segment) \\
	(!was_open && (dp_gate_is_closed)(gates, segment))
	bool had''',
     ONE_GENERATION),
    ('one-to-n-exempt', GENERATION, 'lib/extent/state.h',
     'only a hold from count zero reads the gate',
     '''	return dp_gate_is_closed(&states->gates, segment) ? DP_STATE_GATE_CLOSED : 0;''',
     '''	return !had && dp_gate_is_closed(&states->gates, segment) ? DP_STATE_GATE_CLOSED : 0;''',
     CELLS),
    ('clone-refused-by-gate', RULES, 'lib/extent/state.c',
     'a hold cannot be cloned during a close',
     '''		if (!dp_word_count(word))
			return -EINVAL;
		if (word & DP_WORD_EXCLUSIVE)''',
     '''		if (!dp_word_count(word))
			return -EINVAL;
		if (dp_gate_is_closed(&states->gates, block >> states->block_shift))
			return -EAGAIN;
		if (word & DP_WORD_EXCLUSIVE)''',
     'a_closed_gate_allows_clones_and_drops'),
    ('backs-out-by-hand', GENERATION, 'lib/extent/state.c',
     'a refused hold undoes its count, but not its inc',
     '''	result = dp_state_drop(states, block, generation, count);
	assert(result == (int)count);
	return -EAGAIN;''',
     '''	atomic_fetch_sub(state_word(states, block), count * DP_WORD_COUNT_ONE);
	return -EAGAIN;''',
     CELLS),
    ('gate-is-a-flag', RULES, 'lib/extent/gate.c',
     'the first thread to open the gate opens it for all',
     '''	was = atomic_fetch_sub(&gates->closed[segment], 1);''',
     '''	was = atomic_exchange(&gates->closed[segment], 0);''',
     'a_gate_that_was_closed_twice_opens_at_the_second_open'),

    # ------------------------------------------------------------------- holes
    ('punch-of-held', RECLAIM, 'lib/reclaim/part.c',
     'holds are not counted if there is no registration',
     '''	if (!busy && !dp_registrations_want(''',
     '''	if (!dp_registrations_want(''',
     'a_held_segment_is_not_reclaimed_and_its_holder_is_reported'),
    ('punch-of-pinned', RECLAIM, 'lib/reclaim/part.c',
     'a segment that is registered is punched',
     '''	if (!busy && !dp_registrations_want(jobs->holders, segment,
					    jobs->events, &part->holder,
					    part->label))''',
     '''	if (!busy)''',
     'a_registration_of_all_segments_prevents_reclaim'),
    ('punch-of-unclaimed', RECLAIM, 'lib/reclaim/hole.c',
     'a hole stays on the free list',
     '''	if (flags & DP_CHUNK_BACKED &&
	    !dp_spaces_claim_at(''',
     '''	if (0 && flags & DP_CHUNK_BACKED &&
	    !dp_spaces_claim_at(''',
     'all_free_space_is_reclaimed_and_refilled'),
    ('pin-of-holes', RECLAIM, 'lib/reclaim/job.c',
     'a pin allocates the blocks of holes again',
     '''	else if (dp_holes_any(&jobs->holes, segment))''',
     '''	else if (0 && dp_holes_any(&jobs->holes, segment))''',
     'reclaim_requests_a_pinned_segment_with_an_event'),
    ('pin-while-wanted', RECLAIM, 'lib/reclaim/job.c',
     'a segment that is about to be punched is pinned again',
     'else if (dp_jobs_want(jobs, segment) || segment >=',
     'else if ((0 && dp_jobs_want(jobs, segment)) || segment >=',
     'reclaim_requests_a_pinned_segment_with_an_event'),
    ('holes-handed-out', RECLAIM, 'lib/reclaim/hole.c',
     'punched blocks are free space',
     '''	if (!backed)
		return;
	dp_spaces_free_uncached(''',
     '''	dp_spaces_free_uncached(''',
     'all_free_space_is_reclaimed_and_refilled'),
    ('gate-opened-early', RECLAIM, 'lib/reclaim/part.c',
     'holds are possible while the kernel punches',
     '''		part_begin_request(part, runs, slot);
		return true;''',
     '''		part_begin_request(part, runs, slot);
		dp_gate_open(dp_state_gates(jobs->states), segment);
		return true;''',
     'all_free_space_is_reclaimed_and_refilled'),
    ('gate-left-closed', STRESS, 'lib/reclaim/part.c',
     'after a punch the gate stays closed',
     '''	part->state = DP_PART_COMPLETED;
	dp_gate_open(dp_state_gates(part->job->jobs->states),
		     part->report.segment);''',
     '''	part->state = DP_PART_COMPLETED;''',
     ONE_GENERATION),
    ('close-with-a-job', STRESS, 'lib/api/pool.c',
     'a pool is unmapped while the kernel punches it',
     '''	if (pool_is_busy(pool) || dp_registration_count(&pool->holders) ||
	    atomic_load(&pool->jobs.count)) {''',
     '''	if (pool_is_busy(pool) || dp_registration_count(&pool->holders)) {''',
     ONE_GENERATION),

    # ---------------------------------------------------- the fast path (I33)
    ('free-takes-the-lock', RULES, 'lib/extent/space.c',
     'the last drop waits for a thread that searches',
     '''	if (!dp_short_lock_try(&space->lock)) {
		space_return''',
     '''	dp_short_lock_take(&space->lock);
	dp_short_lock_release(&space->lock);
	if (!dp_short_lock_try(&space->lock)) {
		space_return''',
     'hold_and_drop_never_sleep'),
    ('hold-continues-jobs', RECLAIM, 'lib/reclaim/job.c',
     'a hold takes the locks that the next step of a job needs',
     '''	while (dp_punch_take(&jobs->punch, &completion))
		dp_parts_complete(jobs, &completion);''',
     '''	while (dp_punch_take(&jobs->punch, &completion)) {
		dp_parts_complete(jobs, &completion);
		dp_parts_continue(jobs);
	}''',
     'a_hold_at_a_closed_gate_never_sleeps'),
    ('left-by-a-hold', RECLAIM, 'lib/reclaim/job.c',
     'a job does not end if a hold has opened its gate',
     '''	dp_parts_continue(jobs);
	while (dp_punch_next''',
     '''	while (dp_punch_next''',
     'a_job_ends_after_a_hold_has_opened_its_gate'),
    ('drop-always-wakes', RULES, 'lib/extent/state.h',
     'each last drop makes a system call',
     '''	DP_PROBE_IDLE(states, block << 12, dp_word_generation(was));
''',
     '''	dp_os_futex_wake(&dp_state_at(states, block)->word);
	DP_PROBE_IDLE(states, block << 12, dp_word_generation(was));
'''),
    # ------------------------------------------------------- media and kernel
    ('hold-on-media', RULES, 'lib/api/hold.c',
     'a hold stores a mark on the medium',
     '''	return ret ? hold_finish(pool, handle.block, handle.generation, count,
				 access, ret) : 0;''',
     '''	if (!ret)
		pool->media.geometry.base[DP_CHUNK_SIZE - 1]++;
	return ret ? hold_finish(pool, handle.block, handle.generation, count,
				 access, ret) : 0;''',
     'holds_leave_no_mark_on_media'),
    ('reflinks-taken', RULES, 'lib/pool/source.c',
     'hardware writes to blocks that another file shares',
     '''		if (extent->shared)
			map''',
     '''		if (0 && extent->shared)
			map''',
     'blocks_shared_with_another_file_are_detected'),
    ('a-segment-in-one-go', BLOCKS, 'lib/pool/blocks.c',
     'an allocation that a signal interrupted fails',
     '''			step = blocks_half(size);
			ret = 0;''',
     '''			step = blocks_half(size);''',
     'interrupted_steps_get_shorter_and_finished_steps_are_kept'),
    ('filled-and-then-refused', BLOCKS, 'lib/pool/blocks.c',
     'a create that cannot fit fills the filesystem first',
     '''	if (ret || missing <= room)
		return ret;''',
     '''	if (ret || missing <= room || missing)
		return ret;''',
     'a_create_that_exceeds_the_free_space_allocates_nothing'),
    ('work-without-a-deadline', BLOCKS, 'lib/owner/lock.c',
     'a deadline ends only waits, not the work',
     '''	if (now >= policy->deadline_ns &&
	    policy->deadline_ns > policy->begin_ns)''',
     '''	if (now >= policy->deadline_ns && !total_bytes)''',
     'a_deadline_ends_an_allocation_between_two_steps'),
    ('hole-is-damage', DAMAGE, 'lib/core/recover.c',
     'a hole under an extent is reported as damage, and not filled',
     '''	recover_want_chunks(pool, rebuild->segment, block, word.blocks);
	/*''',
     '''	/*''',
     'an_extent_in_a_hole_is_allocated_and_reads_as_zeroes'),
    ('hole-is-not-filled', DAMAGE, 'lib/pool/blocks.c',
     'the hole under a published extent is not filled',
     '''			      dp_segment_table(segments, index)->begin ||
		      flags & DP_CHUNK_WANTED;''',
     '''			      dp_segment_table(segments, index)->begin;''',
     'an_extent_in_a_hole_is_allocated_and_reads_as_zeroes'),
    ('whole-is-given-up', REPAIR, 'lib/check/audit_tables.c',
     'repair proposes to discard an extent that lies in a hole',
     '''	want_chunks(audit, block, word.blocks);
	/* If a block is taken, it belongs to an extent that overlaps this one. The scan
	 * reports an overlap as damage. */
	if (dp_bits_take(&audit->bits, block, word.blocks))
		return''',
     '''	if (dp_bits_take(&audit->bits, block, word.blocks))
		return give_up_extent(audit, block, "in a hole") < 0 ? -EIO :''',
     'extents_in_holes_are_not_repaired'),
    ('shared-is-damage', AUDIT, 'lib/check/check.c',
     'a check reports blocks that a copy shares as damage',
     '''	finding.cure = fsdax ? DAXPIN_CURE_OPEN : DAXPIN_CURE_NONE;''',
     '''	finding.severity = DAXPIN_SEVERITY_DAMAGE;
	finding.cure = fsdax ? DAXPIN_CURE_OPEN : DAXPIN_CURE_NONE;''',
     'blocks_shared_with_a_copy_are_a_note'),
    ('metadata-stored-to-a-hole', REPAIR, 'lib/check/repair.c',
     'a repair stores to a hole',
     '''	else if (!(flags & DP_CHUNK_BACKED))''',
     '''	else if (0 && !(flags & DP_CHUNK_BACKED))''',
     'metadata_is_allocated_before_it_is_repaired'),
    ('slab-stored-to-a-hole', CHECK_SLABS, 'lib/check/repair.c',
     'a repair allocates the metadata, and stores to a slab in a hole',
     '''	if (chunk < meta)
		return (struct chunks) { 0, meta, "metadata" };''',
     '''	if (chunk < meta || meta)
		return (struct chunks) { 0, meta, "metadata" };''',
     'a_slab_in_a_hole_is_damaged_and_gets_blocks'),
    ('any-piece-backs-a-chunk', RULES, 'lib/pool/source.c',
     'a chunk with a gap is reserved',
     '''		if (map->covered[chunk] == DP_CHUNK_SIZE)''',
     '''		if (map->covered[chunk])''',
     'a_chunk_with_a_gap_is_a_hole'),
    ('read-waits-for-the-file', RULES, 'lib/os/os.c',
     'a read waits for the lock that a waiting punch has',
     '''magic == TMPFS_MAGIC ? 0 : RWF_NOWAIT;''',
     '''magic == TMPFS_MAGIC ? 0 : 0;''',
     'a_read_never_waits_for_the_file'),
    ('hole-is-read-by-a-load', DEGRADED, 'lib/os/os.c',
     'a check of a pool on tmpfs allocates pages in holes',
     '''magic == TMPFS_MAGIC ? 0 : RWF_NOWAIT;''',
     '''magic == 0 ? 0 : RWF_NOWAIT;''',
     'a_check_allocates_no_page_in_a_hole'),
    ('open-without-the-lock', POOL, 'lib/owner/lock.c',
     'a pool is rebuilt while its owner is alive',
     '''	int ret = dp_os_flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB);

	if (ret)
		return ret;
''',
     '''	int ret = 0;

	if (fd >= 0)
		return ret;
''',
     'open_in_another_process_names_the_owner'),
    # ---------------------------------------- verbs contexts (W9, W10, W11)
    ('context-that-is-there-is-over', OWNER, 'lib/owner/owner.c',
     'only a device that is being removed is waited for',
     '''		return ret ? ret : seen->state != DP_VERBS_GONE;''',
     '''		return ret ? ret : seen->state == DP_VERBS_REMOVING;''',
     'a_context_that_still_exists_is_waited_for'),
    ('destroyed-without-asking', DAMAGE, 'lib/pool/create.c',
     "a create over segments without an owner's record does not check for RDMA",
     '''	return dp_owner_await_unknown(&request->policy, request->despite_rdma,
				      request->errmsg);''',
     '''	return 0;''',
     'overwrite_without_the_first_segment_waits_for_all_rdma'),
    ('adopted-despite-rdma', DAMAGE, 'lib/api/options.c',
     'DAXPIN_POOL_ADOPT also skips the wait for RDMA',
     '''			copy->flags & DAXPIN_POOL_DESPITE_RDMA,''',
     '''			copy->flags & (DAXPIN_POOL_DESPITE_RDMA |
				       DAXPIN_POOL_ADOPT),''',
     'open_waits_for_all_rdma_if_the_owners_record_is_lost'),
    ('removal-is-the-end', NETLINK, 'lib/owner/rdma_netlink.c',
     'a device that is being removed has no contexts',
     '''	seen->state = ret ? DP_VERBS_REMOVING : DP_VERBS_GONE;''',
     '''	seen->state = DP_VERBS_GONE;''',
     'a_device_that_is_being_removed_may_have_the_context'),
    ('any-new-domain-is-ours', NETLINK, 'lib/owner/rdma_self.c',
     'a domain that was missing in the first list is taken for the new one',
     '''		if (domain_is_listed(before, domain) ||
		    domain_get(netlink, domain) != -ENOENT)''',
     '''		if (domain_is_listed(before, domain) ||
		    domain_get(netlink, domain) == -ENOMEM)''',
     'an_old_domain_missing_in_one_list_is_not_taken_for_a_new_one'),
    ('foreign-context-is-attached', OWNER, 'lib/owner/owner.c',
     'a context that another living process opened is accepted',
     '''	} else if (maker && dp_os_pid_exists((int)maker)) {''',
     '''	} else if (maker && !dp_os_pid_exists((int)maker)) {''',
     'a_context_of_another_living_process_is_refused'),
    ('first-detach-takes-the-record', REGISTER, 'lib/pool/own.c',
     'a verbs context is removed from the record while another domain of it is attached',
     '''	if (--use->count)
		return 0;
	dp_owner_remove_context(owner, context);''',
     '''	if (use->count == 2)
		use->count = 0;
	else if (use->count)
		use->count--;
	dp_owner_remove_context(owner, context);''',
     'the_last_domain_of_a_context_removes_it_from_the_record'),
    ('any-boot-id-will-do', PLACE, 'lib/owner/place.c',
     'a boot id that a container mounted proves a reboot',
     '''	return (owner->flags & self.flags & DP_OWNER_BOOT_GENUINE) &&''',
     '''	return''',
     'a_boot_id_that_is_mounted_over_proves_no_reboot'),
    ('any-proc-will-do', PLACE, 'lib/owner/place.c',
     "/proc of another pid namespace is read as this one's",
     '''	if (self.count != 1 || self.last != (uint32_t)dp_os_pid())
		return false;''',
     '''	if (!self.count)
		return false;''',
     'proc_of_another_pid_namespace_proves_nothing'),
    ('start-times-are-absolute', PLACE, 'lib/owner/place.c',
     "another process's start time is compared across time namespaces",
     '''	return dp_os_is_own_thread((int)thread) && place_began_later(owner);''',
     '''	return place_began_later(owner);''',
     'a_thread_with_the_owners_pid_may_be_the_owners'),
    ('handed-over-is-excused', OWNER, 'lib/owner/owner.c',
     'a context is ignored because the process that made it was never the owner',
     '''	if (ret || seen->state != DP_VERBS_PRESENT || !seen->maker ||
	    !(context->flags & DP_CONTEXT_OWN))''',
     '''	if (ret || seen->state != DP_VERBS_PRESENT || !seen->maker)''',
     'a_context_of_unknown_maker_is_waited_for_in_any_process'),
    ('pid-is-read-once', OWNER, 'lib/owner/owner.c',
     "the maker's pid may belong to another process when it is looked up",
     '''	       !(outside && seen->maker == maker);''',
     '''	       !(outside && maker);''',
     'a_reused_pid_does_not_end_the_wait'),
    ('absence-is-the-end', NETLINK, 'lib/owner/rdma_netlink.c',
     'a device in another network namespace is taken for gone',
     '''	if (!dp_devices_are_shared(netlink))
		return EXCLUSIVE;
	ret = dp_devices_list(netlink, &list);''',
     '''	ret = dp_devices_list(netlink, &list);''',
     'absence_in_exclusive_mode_proves_nothing'),
    ('any-sysfs-will-do', NETLINK, 'lib/owner/rdma_netlink.c',
     "a container's sysfs is used, which does not show a device being removed",
     '''	if (!ret && !all)
		return UNSEEN;''',
     '''	(void)all;''',
     'sysfs_of_another_network_proves_nothing'),
    ('no-socket-is-no-rdma', NETLINK, 'lib/owner/rdma_netlink.c',
     'a system call filter is taken for a kernel without RDMA',
     '''	} else if (ret == -EPROTONOSUPPORT && dp_devices_have_no_support()) {''',
     '''	} else if (ret == -EPROTONOSUPPORT) {''',
     'a_kernel_without_rdma_has_no_contexts'),
    # ------------------------------------- files that others can reach (W1-W15)
    ('removed-by-its-maker', OUTSIDE, 'lib/pool/file.c',
     'a create that fails removes a file that another process filled meanwhile',
     '''	if (file->made && !file->size_before)''',
     '''	if (file->made)''',
     'create_is_eexist_if_another_process_made_a_pool_meanwhile'),
    ('later-segments-unlocked', OUTSIDE, 'lib/pool/segment.c',
     'only the first segment is locked',
     '''		return ret;
	segment->file = &segment->own;
	ret = segment_lock(segments, index, policy, errmsg);
	return ret ? ret : segment_check_kind(segments, index, errmsg);
}

int dp_segments_open(''',
     '''		return ret;
	segment->file = &segment->own;
	if (create)
		ret = segment_lock(segments, index, policy, errmsg);
	return ret ? ret : segment_check_kind(segments, index, errmsg);
}

int dp_segments_open(''',
     'a_file_that_is_a_segment_of_two_pools_has_one_owner'),
    ('claimed-twice', OUTSIDE, 'lib/owner/claim.c',
     'a process opens a file of two pools twice',
     '''	at = claim_find(claims, stat->st_dev, stat->st_ino);
	if (*at) {''',
     '''	at = claim_find(claims, stat->st_dev, stat->st_ino);
	if (*at && false) {''',
     'a_process_cannot_open_a_file_as_a_segment_of_two_pools'),
    ('closed-instead-of-parked', OUTSIDE, 'lib/owner/claim.c',
     "a second descriptor is closed, which releases the owner's byte",
     '''		claim_park(&(*at)->parked, claim, fd);
		ret = -EBUSY;''',
     '''		claim_park(&(*at)->parked, claim, fd);
		dp_os_close(fd);
		ret = -EBUSY;''',
     'a_process_cannot_open_a_file_as_a_segment_of_two_pools'),
    ('opened-without-a-look', OUTSIDE, 'lib/pool/file.c',
     'each open that is refused leaks a descriptor',
     'if (file_is_claimed(file, source))',
     'if (file_is_claimed(file, source) && false)',
     'failed_opens_leave_no_descriptor'),
    ('anchor-without-files', HOLDER, 'lib/owner/anchor.c',
     'rings keep only the first segment',
     '''	return ret ? anchor_refused(ret, count, errmsg) : 0;''',
     '''	dp_anchor_close(anchor);
	return ret ? anchor_refused(ret, count, errmsg) :
	       dp_anchor_open(anchor, errmsg);''',
     'a_ring_keeps_the_locks_of_all_segments'),
    ('backup-links-are-followed', REPAIR, 'lib/check/repair.c',
     'a symbolic link is taken for a backup',
     'O_RDONLY | O_NOFOLLOW |',
     'O_RDONLY |',
     'a_backup_that_others_can_write_is_refused'),
    ('anybodys-backup', REPAIR, 'lib/check/repair.c',
     'a backup that every user can write to is restored',
     'return dp_judge_other_file(path, ret_stat, flags, request->errmsg);',
     'return (void)flags, 0;',
     'a_backup_that_others_can_write_is_refused'),
    ('backup-is-not-claimed', REPAIR, 'lib/check/repair.c',
     'a file of an open pool is opened and closed as a backup',
     '''	if (dp_claim_take(claim, fd, ret_stat))
		return''',
     '''	dp_os_close(dp_os_open(AT_FDCWD, path, O_RDONLY | O_NONBLOCK, 0));
	if (dp_claim_take(claim, fd, ret_stat))
		return''',
     'a_file_of_an_open_pool_is_refused_as_a_backup'),
    ('unread-map-is-whole', OUTSIDE, 'lib/pool/judge.c',
     'without /proc the overflow uid is taken for a real user',
     '''	ret = judge_every_uid_is_one_user();
	if (ret > 0)
		return 0;''',
     '''	ret = judge_every_uid_is_one_user();
	if (ret)
		return 0;''',
     'without_proc_files_of_the_overflow_user_are_refused'),
    ('any-filesystem-will-do', OUTSIDE, 'lib/pool/judge.c',
     'overlayfs, NFS, FUSE and unknown filesystems are accepted',
     '''	if (*ret_filesystem != DP_FILESYSTEM_UNSUPPORTED ||
	    flags & DP_JUDGE_ANY_FILESYSTEM)''',
     '''	(void)flags;
	if (described || magic)''',
     'filesystems_with_unreliable_locks_are_refused'),
    ('the-type-is-believed', OUTSIDE, 'lib/pool/judge.c',
     '9p counts as the filesystem of its server',
     '	    dp_os_has_handles(fd) == DP_NO) {',
     '	    dp_os_has_handles(fd) > DP_YES) {',
     'filesystems_with_unreliable_locks_are_refused'),
    ('anything-is-a-file', OUTSIDE, 'lib/pool/judge.c',
     'a FIFO or a device is taken for a segment',
     '''	if (!S_ISREG(stat->st_mode))
		return dp_fail(errmsg, -EMEDIUMTYPE,''',
     '''	if (S_ISDIR(stat->st_mode))
		return dp_fail(errmsg, -EMEDIUMTYPE,''',
     'a_fifo_is_refused'),
    ('wiped-is-no-pool', DAMAGE, 'lib/pool/pool.c',
     'a pool without its first superblock is taken for no pool',
     '''	if (ret)
		return ret;
	if (!remains.kind)
		return dp_fail(errmsg, -EMEDIUMTYPE,
			       "there is no daxpin pool in %s: create one",''',
     '''	if (ret)
		return ret;
	if (remains.kind)
		return dp_fail(errmsg, -EMEDIUMTYPE,
			       "there is no daxpin pool in %s: create one",''',
     'open_and_create_do_not_take_a_wiped_segment_0_for_blank'),
    ('only-metadata-counts', REMAINS, 'lib/pool/remains.c',
     'a segment whose metadata was zeroed is blank',
     '''	for (; !ret && begin < end; begin += size) {''',
     '''	for (; ret && begin < end; begin += size) {''',
     'create_refuses_a_file_with_data_and_no_metadata'),
    ('a-table-is-nothing', REMAINS, 'lib/pool/remains.c',
     'without superblocks a descriptor table is taken for no pool',
     '''		if (remains_is_table_page(search->buffer + at))''',
     '''		if (0 && remains_is_table_page(search->buffer + at))''',
     'open_create_and_check_recognize_a_descriptor_table'),
    ('the-first-file-alone', REMAINS, 'lib/pool/remains.c',
     'of several files that were wiped only the first is looked at',
     '''	for (uint32_t i = 0; left > 0 && i < DP_SEGMENTS_MAX; i++) {
		ret = remains_of_segment(''',
     '''	for (uint32_t i = 0; left > 0 && i < 1; i++) {
		ret = remains_of_segment(''',
     'create_reads_every_segment'),
    ('device-superblocks-are-not-looked-for', REMAINS, 'lib/pool/remains.c',
     'on a device later superblocks are ignored',
     '''		if (at % DP_SEGMENT_SIZE_MIN == 0 && remains_is_super(search, at)) {''',
     '''		if (at % DP_SEGMENT_SIZE_MIN == 1 && remains_is_super(search, at)) {''',
     'a_device_is_searched_at_the_offsets_of_each_segment_size'),
    ('links-are-followed', OUTSIDE, 'lib/pool/source.c',
     "a symbolic link in the pool's directory is followed",
     '''flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,''',
     '''flags | O_NONBLOCK | O_NOCTTY,''',
     'open_and_create_do_not_follow_a_symbolic_link'),
    ('others-may-write', OUTSIDE, 'lib/pool/judge.c',
     'a directory that other users may write to is accepted',
     '''	if (!ret && stat->st_mode & (S_IWGRP | S_IWOTH))''',
     '''	if (!ret && stat->st_mode & S_IFIFO & S_IWOTH)''',
     'a_directory_or_file_that_others_can_write_is_refused'),
    ('strangers-files', OUTSIDE, 'lib/pool/judge.c',
     'the owner of the files is not checked',
     '''	if (stat->st_uid && stat->st_uid != us)''',
     '''	if (stat->st_uid && stat->st_uid != us && !stat->st_ino)''',
     'a_directory_or_file_of_another_user_is_refused'),
    ('later-files-stay', OUTSIDE, 'lib/pool/segment.c',
     'a create that fails leaves the files that it made',
     '''	for (uint32_t i = segments->opened; i-- > 1;)''',
     '''	for (uint32_t i = segments->opened; i-- > UINT32_MAX - 1;)''',
     'a_create_without_enough_descriptors_leaves_nothing'),
    ('created-then-forgotten', OUTSIDE, 'lib/core/recover.c',
     'a create that fails after the pool was made leaves it',
     'dp_pool_give_up(&pool->media);',
     'dp_pool_tear_down(&pool->media);',
     'a_create_whose_system_call_fails_leaves_nothing'),

    # ------------------------------------------ copies, backups, times (W4, W5)
    ('another-time-is-taken', EPOCH, 'lib/media/stamp.c',
     'a segment of an older backup is accepted',
     '''	if (!tally->mismatches)
		return 0;
	fit =''',
     '''	if (!tally->mismatches || tally->later)
		return 0;
	fit =''',
     'open_refuses_a_segment_of_an_older_backup'),
    ('epochs-alone-are-compared', EPOCH, 'lib/media/stamp.c',
     'two copies that were opened equally often are taken for one pool',
     '''	if (later->open_id != first->open_id)
		return DP_STAMP_OTHER;
	if''',
     '''	if (later->open_id != first->open_id && !first->epoch)
		return DP_STAMP_OTHER;
	if''',
     'open_refuses_a_segment_of_another_copy_of_the_pool'),
    ('stamps-not-asked-for', EPOCH, 'lib/media/stamp.c',
     'a segment that was copied before the close is accepted',
     '''	if (!(first->flags & DP_SUPER_UNCLEAN) && !later->closed)''',
     '''	if (!(first->flags & DP_SUPER_FLAGS) && !later->seen)''',
     'open_refuses_a_segment_that_was_copied_from_an_open_pool'),
    ('room-is-asked-for-once', BLOCKS, 'lib/pool/blocks.c',
     'a create on XFS is refused while the space of removed files becomes free',
     '''missing > *ret_room && i < ROOM_LOOKS &&''',
     '''missing > *ret_room && i + ROOM_LOOKS < ROOM_LOOKS &&''',
     'a_create_on_xfs_waits_for_the_space_of_removed_files'),
    ('times-stay-at-open', EPOCH, 'lib/pool/epoch.c',
     'an open leaves the times of the files, so rsync skips them',
     '''	epochs_touch(epochs);''',
     '''	if (closed)
		epochs_touch(epochs);''',
     'each_open_for_writing_and_close_sets_the_times_of_all_files'),
    ('times-stay-at-close', EPOCH, 'lib/pool/epoch.c',
     'a close leaves the times of the files, so rsync skips them',
     '''	epochs_touch(epochs);''',
     '''	if (!closed)
		epochs_touch(epochs);''',
     'each_open_for_writing_and_close_sets_the_times_of_all_files'),
    ('time-stays-after-repair', REPAIR, 'lib/check/repair.c',
     'a repair leaves the time of the file, so rsync skips it',
     '''	if (image->pool.source.kind != DP_SOURCE_DEVDAX)
		dp_os_touch(image->segment_fd);''',
     '''''',
     'a_repair_sets_the_time_of_the_file_that_it_writes_to'),
    ('unfinished-files-stay', GROW, 'lib/core/recover.c',
     'the files of a grow that a crash interrupted remain',
     '''		ret = dp_pool_remove_unfinished(&pool->media, errmsg);''',
     '''		ret = 0;''',
     'a_grow_that_dies_leaves_the_old_size_or_the_new'),
    ('any-extra-file-is-removed', GROW, 'lib/pool/grow.c',
     'an open removes each segment file that the pool does not count',
     '''	    (index & DP_SOURCE_NEW ||
	     grow_is_unfinished(''',
     '''	    (true ||
	     grow_is_unfinished(''',
     'an_open_removes_no_file_that_may_be_a_backup'),
    ('used-segment-is-removed', GROW, 'lib/pool/grow.c',
     'an open removes a segment of the pool that has extents',
     '''raw[i], &bits) || bits)''',
     '''raw[i], &bits))''',
     'an_open_removes_no_file_that_may_be_a_backup'),
    ('counted-before-it-is-named', GROW, 'lib/pool/grow.c',
     'the superblock counts a new segment before its file has its name',
     '''	int ret = dp_segments_rename(&pool->segments, first, errmsg);
''',
     '''	int ret = dp_pool_set_segments(pool, dp_segments_count(&pool->segments));

	if (!ret)
		ret = dp_segments_rename(&pool->segments, first, errmsg);
''',
     'a_grow_that_dies_leaves_the_old_size_or_the_new'),
    ('new-segment-is-not-counted', GROW, 'lib/pool/grow.c',
     'a grow does not change the superblock',
     '''	ret = dp_pool_set_segments(pool, dp_segments_count(&pool->segments));
	if (!ret)''',
     '''	ret = 0 * dp_segments_count(&pool->segments);
	if (!ret)''',
     'an_extent_in_a_new_segment_survives'),
    ('new-files-not-in-anchor', GROW, 'lib/pool/grow.c',
     'no ring keeps the file of a new segment locked',
     '''	return dp_segments_add_to_anchor(&pool->segments, pool->geometry.segments,
					 &pool->anchor, errmsg);''',
     '''	return (void)errmsg, 0;''',
     'rings_keep_the_new_files_locked'),
    ('two-grows-at-once', GROW, 'lib/core/grow.c',
     'a second grow works on the same segments',
     '''	if (atomic_exchange(&pool->resizing, true))''',
     '''	if (atomic_exchange(&pool->resizing, true) && 0)''',
     'a_second_grow_and_a_close_during_a_grow_are_busy'),
    ('left-file-stops-a-grow', GROW, 'lib/pool/grow.c',
     'a grow fails while there is a file of one that crashed',
     '''	return index & DP_SOURCE_NEW ? grow_remove_one(index, arg) : 0;''',
     '''	return index & DP_SOURCE_NEW && !arg ? grow_remove_one(index, arg) : 0;''',
     'a_grow_removes_what_a_crashed_one_has_left'),
    ('short-segment-is-the-last', GROW, 'lib/pool/segment.c',
     'an open takes the last segment for the short one',
     '''		.short_index = super->short_index,''',
     '''		.short_index = super->segments - 1,''',
     'other_segments_follow_a_short_one'),
    ('short-segment-is-not-shorter', DAMAGE, 'lib/pool/segment.c',
     'the short segment may have any size',
     '''	       super->short_size < super->segment_size &&
''', '', 'open_refuses_inconsistent_superblock_fields'),
    ('removed-segment-is-short', GROW, 'lib/pool/own.c',
     'the superblock keeps the size of a short segment that was removed',
     '''	if (super->short_index >= segments) {''',
     '''	if (super->short_index > segments) {''',
     'a_shrink_reaches_and_removes_a_short_segment'),
    ('clean-over-another-open', EPOCH, 'lib/pool/own.c',
     'a process that was suspended marks the pool of its successor as clean',
     '''	       now.open_id == super->open_id ? 0 : -ESTALE;''',
     '''	       now.open_id == super->open_id ? 0 : 0;''',
     'close_is_estale_after_another_system_opened_the_pool'),
    ('foreign-segments-are-written', EPOCH, 'lib/pool/epoch.c',
     'a degraded open makes a segment of an older open equal to the others',
     '''		if (epochs->all[i].foreign)
			continue;''',
     '''		if (epochs->all[i].foreign && closed)
			continue;''',
     'a_degraded_open_does_not_change_an_older_segment'),
    ('unclean-copy-is-taken', EPOCH, 'lib/pool/epoch.c',
     'a copy made of files of two moments opens',
     '''	if (epochs->copied && dp_super_is_unclean(first) && !adopt)''',
     '''	if (epochs->copied && dp_super_is_unclean(first) && adopt)''',
     'a_copy_of_an_open_pool_must_be_adopted'),
    ('mixture-is-taken', EPOCH, 'lib/media/stamp.c',
     'a file that replaced another one is opened with the rest',
     '''	if (!files->others || !files->as_recorded)''',
     '''	if (!files->others || files->as_recorded)''',
     'open_refuses_a_mixture_of_copies_and_original_files'),
    # ------------------------------------------- blocks that are not moved (W6)
    ('marked-at-create-alone', DEFRAG, 'lib/pool/defrag.c',
     'an open does not mark the files',
     '''		any = dp_tristate_or(any, segments->readonly ?''',
     '''		any = dp_tristate_or(any, fd >= 0 ?''',
     'an_open_for_writing_restores_a_lost_mark'),
    ('refused-without-a-word', DEFRAG, 'lib/pool/defrag.c',
     'the reason why a mark was refused is not reported',
     '''	if (ret)
		*error = ret;''',
     '''	if (ret > 0)
		*error = ret;''',
     'a_mark_that_the_filesystem_refuses_is_reported'),
    ('first-nvdimm-decides', SHUTDOWNS, 'lib/media/shutdowns.c',
     'a count that fell hides one that grew',
     '''	for (uint32_t i = 0; all != DP_YES && i''',
     '''	for (uint32_t i = 0; all == DP_NO && i''',
     'a_count_that_was_reset_does_not_hide_another'),
    ('last-nvdimm-decides', SHUTDOWNS, 'lib/media/shutdowns.c',
     'a count that grew is hidden by one that fell after it',
     '''	for (uint32_t i = 0; all != DP_YES && i < DP_NVDIMMS_MAX; i++) {''',
     '''	for (uint32_t i = 0; i < DP_NVDIMMS_MAX; i++) {''',
     'a_count_that_was_reset_does_not_hide_another'),
    ('counts-are-added-up', SHUTDOWNS, 'lib/media/shutdowns.c',
     'the counts of all NVDIMMs are stored as one sum',
     '''	all->count[all->mappings++] = count;''',
     '''	all->mappings++;
	all->count[0] += count;''',
     'a_count_that_was_reset_does_not_hide_another'),
    ('less-is-none', SHUTDOWNS, 'lib/media/shutdowns.c',
     'a count that fell is taken for no dirty shutdown',
     '''	return now == before ? DP_NO : DP_UNKNOWN;''',
     '''	return now <= before ? DP_NO : DP_UNKNOWN;''',
     'a_count_that_decreased_is_unknown'),
    ('lost-without-a-word', SHUTDOWNS, 'lib/api/pool.c',
     'an open after a dirty shutdown logs nothing',
     '''	if (pool->media.flushed.dirty == DP_YES)
		dp_log_write(''',
     '''	if (pool->media.flushed.dirty == DP_UNKNOWN)
		dp_log_write(''',
     'a_power_failure_while_open_is_reported'),
    ('looked-at-without-end', REMAINS, 'lib/pool/remains.c',
     'progress is not called while a device is read',
     '''		ret = remains_report_progress(search, begin);
''',
     '',
     'a_search_of_a_device_reports_progress_and_can_be_ended'),
    ('fifo-is-waited-for', OTHERS, 'lib/os/os.c',
     'a FIFO that is mounted over a file of /proc is waited for',
     '''open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);''',
     '''open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);''',
     'pools_can_be_opened_whatever_a_container_hides_or_replaces'),
    ('closed-without-a-look', OTHERS, 'lib/pool/own.c',
     'a close stores to a file that was truncated',
     '''	int ret = dp_segments_check_sizes(&pool->segments);''',
     '''	int ret = 0;''',
     'close_and_open_report_a_file_that_was_truncated_while_open'),
    ('refused-without-a-cure', OTHERS, 'lib/pool/source.c',
     'the message for an immutable file does not name the attribute',
     '''	case -EPERM:
		return dp_fail(''',
     '''	case -EMLINK:
		return dp_fail(''',
     'open_refuses_an_immutable_file_except_for_reading'),
    ('unopened-is-blank', REMAINS, 'lib/pool/remains.c',
     'a file that cannot be opened is taken for an empty one',
     '''			return ret == -ENOENT ? 0 : ret;''',
     '''			return ret < 0 ? 0 : ret;''',
     'a_segment_that_cannot_be_opened_is_not_blank'),
    ('mark-is-not-read-back', DEFRAG, 'lib/pool/defrag.c',
     'a mark is believed because the call succeeded',
     '''	if (ret)
		*error = ret;
	return dp_defrag_may_move(source, fd);''',
     '''	return ret ? DP_YES : DP_NO;''',
     'a_mark_that_the_filesystem_drops_is_reported'),
    ('last-file-counts', DEFRAG, 'lib/pool/defrag.c',
     'the answer for the pool is that of its last file',
     '''		any = dp_tristate_or(any, segments''',
     '''		any = dp_tristate_or(DP_NO, segments''',
     'one_file_without_a_mark_is_reported'),
    ('unread-mark-is-there', DEFRAG, 'lib/pool/defrag.c',
     'an error when a mark is read counts as a mark',
     '''	if (marked < 0)
		return DP_UNKNOWN;
''',
     '',
     'a_mark_that_cannot_be_read_is_unknown'),
    ('any-filesystem-is-xfs', DEFRAG, 'lib/pool/defrag.c',
     'a mark is believed on every filesystem',
     '''	if (!source->is_xfs)
		return DP_UNKNOWN;
''',
     '',
     'other_filesystems_are_not_marked_or_reported'),
    # ------------------------------------------------- dirty shutdowns (W11)
    ('some-nvdimms-will-do', SHUTDOWNS, 'lib/media/shutdowns.c',
     'an NVDIMM that cannot be read is ignored',
     '''	return ret ? none : all;''',
     '''	return ret && !all.nvdimms ? none : all;''',
     'a_missing_counter_makes_the_count_unknown'),
    ('not-known-is-flushed', SHUTDOWNS, 'lib/pool/flushed.c',
     'an unknown state counts as flushed',
     '''	if (!needed || flushed->dirty == DP_NO)''',
     '''	if (!needed || flushed->dirty != DP_YES)''',
     'a_missing_counter_makes_the_count_unknown'),
    ('other-nvdimms-are-compared', SHUTDOWNS, 'lib/media/shutdowns.c',
     'the count of any NVDIMMs is compared',
     '''	if (super->nvdimms != now->nvdimms)''',
     '''	if (!super->nvdimms)''',
     'counts_of_other_nvdimms_are_not_compared'),
    ('unclean-open-records', SHUTDOWNS, 'lib/media/shutdowns.c',
     'an open after a dirty shutdown records the new count',
     '''	if (dp_super_is_unclean(super))
		return;
''',
     '',
     'a_second_crash_does_not_hide_a_dirty_shutdown'),
    ('mounted-counts-will-do', SHUTDOWNS, 'lib/media/shutdowns.c',
     'a file that is mounted over sysfs is trusted',
     '''	if (dp_os_is_genuine(path, SYSFS_MAGIC) <= 0)
		return -EIO;
''',
     '',
     'a_filesystem_mounted_over_sysfs_is_not_trusted'),
    # ---------------------------------------------- calls that end badly (C1-C12)
    ('publish-is-cancelled', CANCEL, 'lib/media/persist.c',
     'a publish is a cancellation point where it calls msync()',
     '''	DP_UNCANCELLED();

	return remember_error''',
     '''	return remember_error''',
     'a_call_is_cancelled_at_its_beginning_or_not_at_all'),
    ('page-is-cancelled', CANCEL, 'lib/media/pages.c',
     'a publish is a cancellation point where it begins a page of the table',
     '''	DP_UNCANCELLED();
	int ret = 0;''',
     '''	int ret = 0;''',
     'a_call_is_cancelled_at_its_beginning_or_not_at_all'),
    ('drop-is-cancelled', CANCEL, 'lib/extent/event.c',
     'a drop is a cancellation point where it signals an event',
     '''	DP_UNCANCELLED();

	dp_os_eventfd_signal''',
     '''	dp_os_eventfd_signal''',
     'a_call_is_cancelled_at_its_beginning_or_not_at_all'),
    ('sleep-is-cancelled', CANCEL, 'lib/os/os.c',
     'the drop of a labelled hold is a cancellation point while a report has the hold',
     '	syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, NULL);',
     '	nanosleep(&t, NULL);',
     'a_call_is_cancelled_at_its_beginning_or_not_at_all'),
    ('callback-is-cancelled', CANCEL, 'lib/api/hold.c',
     'a callback is a cancellation point',
     '''			   void (*fn)(const struct daxpin_holder *holder,
				      void *arg), void *arg)
{
	DP_CANCEL_POINT();
''',
     '''			   void (*fn)(const struct daxpin_holder *holder,
				      void *arg), void *arg)
{
''',
     'a_call_is_cancelled_at_its_beginning_or_not_at_all'),
    ('detach-is-cancelled', URING, 'lib/util/cancel.h',
     'cancellation stays enabled during a detach',
     '''	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);''',
     '''	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);''',
     'no_call_on_a_ring_is_a_cancellation_point'),
    ('revoke-is-cancelled', REVOKE, 'lib/util/cancel.h',
     'cancellation is enabled again before the revoke has ended',
     '''	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);''',
     '''	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	pthread_setcancelstate(before, NULL);''',
     'no_call_on_a_domain_is_a_cancellation_point'),
    ('abandon-is-cancelled', ['tests/unit/uring_cancel'], 'lib/uring/end.c',
     'a thread that is cancelled while it abandons a ring leaves half of it',
     '''				   uint64_t deadline_ns)
{
	DP_UNCANCELLED();
	int ret;
''',
     '''				   uint64_t deadline_ns)
{
	int ret;
''',
     'a_cancelled_thread_completes_its_call_on_a_ring'),
    ('prep-asks-the-kernel', ['tests/unit/uring_cancel'], 'lib/uring/prep.c',
     'a prep function makes a system call, and can be cancelled there',
     '''	return !io || io->uring || !sqe ? -EINVAL : dp_uring_enter_ring(uring);''',
     '''	if (io && !io->uring && sqe)
		read(-1, NULL, 0);
	return !io || io->uring || !sqe ? -EINVAL : dp_uring_enter_ring(uring);''',
     'no_prep_function_makes_a_system_call'),
    ('probe-is-cancelled', ['tests/unit/rdma_cancel_window'], 'lib/rdma/probe.c',
     'a thread that is cancelled while it tries a device leaves queue pairs and a region',
     '''	DP_UNCANCELLED();
	struct daxpin_rdma_report report =''',
     '''	struct daxpin_rdma_report report =''',
     'a_cancelled_thread_completes_its_call_on_a_window'),
    ('flush-is-cancelled', ['tests/unit/rdma_cancel_window'], 'lib/rdma/flush.c',
     'a thread that is cancelled in a flush does not report whether it was posted',
     '''	DP_UNCANCELLED();
	struct daxpin_flush_options o =''',
     '''	struct daxpin_flush_options o =''',
     'a_cancelled_thread_completes_its_call_on_a_window'),
    ('lkey-is-cancelled', ['tests/unit/rdma_cancel'], 'lib/rdma/local_key.c',
     'a thread that is cancelled in a registration keeps the mutex',
     '''DP_EXPORT int daxpin_rdma_lkey(struct daxpin_rdma *rdma, uint64_t addr,
			       uint32_t *ret_lkey)
{
	DP_UNCANCELLED();
''',
     '''DP_EXPORT int daxpin_rdma_lkey(struct daxpin_rdma *rdma, uint64_t addr,
			       uint32_t *ret_lkey)
{
''',
     'a_cancelled_thread_completes_its_call_on_a_domain'),
    ('holes-may-give-space', RETRY, 'lib/reclaim/job.c',
     'a hole counts as a job in progress',
     '''	return atomic_load(&jobs->holes.claimed) || atomic_load(&jobs->refills) ?''',
     '''	return atomic_load(&jobs->holes.claimed) ||
	       atomic_load(&jobs->holes.blocks) ?''',
     'a_reserve_with_only_holes_left_is_enospc'),
    ('end-of-a-job-is-not-told', RETRY, 'lib/reclaim/part.c',
     'after the end of a job refused calls get no RETRY',
     '''	/* A pin of the segment may be possible now; or it is certain that no space
	 * becomes available. */
	dp_events_notify_refused(jobs->events);''',
     '',
     'retry_is_sent_after_a_refill_that_adds_nothing'),
    ('free-space-is-not-told', RETRY, 'lib/extent/state.h',
     'after space was freed refused calls get no RETRY',
     '''	dp_events_notify_refused(states->events);''',
     '',
     'retry_is_sent_at_the_first_free_after_a_refusal'),
    ('refused-set-is-not-noted', RETRY, 'lib/core/publish.c',
     'after a refused SET there is no RETRY',
     '''		ret = dp_jobs_hold(&batch->pool->jobs, step->handle.block,
				   step->handle.generation, 1, 0);''',
     '''		ret = dp_state_hold(states, step->handle.block,
				   step->handle.generation, 1, 0);''',
     'retry_is_sent_after_a_refused_set'),
    ('sets-share-any-hold', PUBLISH, 'lib/core/publish.c',
     'a SET uses the hold of another extent',
     '''	if (step->handle.block == target->handle.block &&
	    step->handle.generation == target->handle.generation)''',
     '''	if (target->handle.block)''',
     'each_set_of_a_batch_is_checked_against_its_own_extent'),
    ('a-claim-is-not-found', PUBLISH, 'lib/core/publish.c',
     'a large batch does not find the claim of its first steps',
     '''		at = at + 1 < batch->begun ? at + 1 : 0;''',
     '''		at = at + 1 < batch->begun ? at + 1 : STEPS_ON_STACK;''',
     'an_extent_kept_twice_is_found_in_a_batch_of_any_size'),
    ('a-set-is-not-found', PUBLISH, 'lib/core/publish.c',
     'a large batch may set one word twice',
     '''	for (size_t i = 0; i + 1 < batch->begun; i++)
		if (batch->step[i].op->type == DAXPIN_OP_SET &&''',
     '''	for (size_t i = 0; i + 1 < batch->begun && i < STEPS_ON_STACK; i++)
		if (batch->step[i].op->type == DAXPIN_OP_SET &&''',
     'a_word_set_twice_is_found_in_a_batch_of_any_size'),
    ('polled-lock-of-two', POLLED, 'lib/os/short_lock.h',
     'two threads have one lock',
     'return !atomic_exchange_explicit(&lock->taken, 1, memory_order_acquire);',
     'return atomic_exchange_explicit(&lock->taken, 1, memory_order_acquire) < 2;',
     'a_thread_that_sleeps_for_the_lock_takes_it_after_the_release'),
    ('polled-lock-is-awaited', POLLED, 'lib/os/short_lock.h',
     'a thread sleeps for a lock whose release wakes no thread',
     'dp_os_now_ns() + DP_POLLED_LOCK_NS);',
     'UINT64_MAX);',
     'a_thread_that_sleeps_for_the_lock_takes_it_after_the_release'),
    ('a-gap-is-left', PUBLISH, 'lib/media/root.c',
     'names in slots after one that is removed are lost',
     '''		root_set_place(roots, gap, what);
		gap = at;''',
     '''		continue;''',
     'names_stay_when_others_are_removed'),
    ('a-stale-root-is-compared', PUBLISH, 'lib/media/root.c',
     'a root whose extent is gone names the extent that has its 15 bits of a generation',
     '''		root_set_word(roots, slot, root_gone);''',
     '''		(void)root_gone;''',
     'a_stale_root_names_no_later_extent'),
    ('a-stale-root-stays-on-media', PUBLISH, 'lib/core/recover.c',
     'a root whose extent is gone is compared again by the next open',
     '''		ret = dp_roots_write_gone(&pool->roots);''',
     '''		ret = 0;''',
     'a_root_whose_extent_is_gone_is_stale'),
    ('degraded-open-leaves-stale-roots', DEGRADED, 'lib/core/recover.c',
     'a degraded open reuses what a root on media still names',
     '''	if (!ret && !pool->media.readonly)
		ret = dp_roots_write_gone''',
     '''	if (!ret && !pool->media.readonly && !pool->media.degraded)
		ret = dp_roots_write_gone''',
     'a_stale_root_names_nothing_that_a_degraded_open_keeps'),
    ('slab-block-is-in-doubt', DEGRADED, 'lib/core/recover.c',
     'an object is reused although a root on media still names it',
     '''	return !dp_slab_at(&pool->objects, block) && segment < geometry->segments &&''',
     '''	return segment < geometry->segments &&''',
     'a_stale_root_names_no_object_in_a_quarantined_block'),
    ('damaged-name-counts-nothing', DEGRADED, 'lib/media/root.c',
     'what a root with a damaged name names is freed in a degraded open',
     '''		if (!ret && root_word(roots, i).block)''',
     '''		if (!ret && !roots->slot[i].damaged && root_word(roots, i).block)''',
     'what_a_root_with_a_damaged_name_names_stays'),
    ('root-in-doubt-is-lost', DEGRADED, 'lib/media/root.c',
     'a degraded open forgets a root whose extent a repair can restore',
     '''	roots->slot[slot].in_doubt = found == DP_ROOT_IN_DOUBT;''',
     '''	roots->slot[slot].in_doubt = false;''',
     'a_degraded_open_keeps_the_root_of_a_damaged_extent'),
    ('a-root-is-found-under-the-mutex', RULES, 'lib/media/root.c',
     'a thread that adds a name blocks all look-ups',
     '''	if (!root_try_lookup(roots, name, ret_lookup))
		root_lookup_again(roots, name, ret_lookup);''',
     '''	pthread_mutex_lock(&roots->mutex);
	root_try_lookup(roots, name, ret_lookup);
	pthread_mutex_unlock(&roots->mutex);''',
     'hold_and_drop_never_sleep'),
    ('refused-pin-is-not-noted', RETRY, 'lib/reclaim/job.c',
     'after a refused pin there is no RETRY',
     '''	if (ret == -EAGAIN || ret == -ENOSPC)
		dp_events_refused(jobs->events);''',
     '',
     'retry_is_sent_after_a_refused_pin'),
    ('limit-ends-the-process', ERRMSG, 'lib/util/size_signal.h',
     'SIGXFSZ stays pending, and ends the process',
     '''		sigtimedwait(&set, NULL, &now);''',
     '''		(void)now;''',
     'a_create_above_the_file_size_limit_is_efbig_without_a_signal'),
    ('close-needs-a-descriptor', ERRMSG, 'lib/media/super.c',
     'a close needs a free descriptor, for a pipe',
     '		.pipe = dp_persist_pipe(persist),\n',
     '',
     'a_close_works_without_free_descriptors'),
    ('failed-close-is-not-over', EPOCH, 'lib/pool/own.c',
     'after a close that failed calls store to the pool',
     '''	pool->readonly = true;
	return ret;''',
     '''	return ret;''',
     'close_is_estale_after_another_system_opened_the_pool'),
    ('sentence-is-not-emptied', ERRMSG, 'lib/util/util.c',
     'a failure without a sentence shows that of an earlier call',
     '''	dp_clear_errmsg(&errmsg);''',
     '',
     'errmsg_is_new_after_a_failure_and_empty_after_success'),
    ('failure-without-a-sentence', ERRMSG, 'lib/util/util.h',
     'a failure may have no sentence',
     '''		dp_fail(errmsg, ret, "%s", text);
	return ret;''',
     '''		(void)text;
	return ret;''',
     'errmsg_is_new_after_a_failure_and_empty_after_success'),
    ('output-without-success', ERRMSG, 'lib/api/register.c',
     'a registration is returned before it is made',
     '''	int ret = register_check(pool, segment, options, errmsg);

	if (ret)
		return ret;
''',
     '''	int ret = register_check(pool, segment, options, errmsg);

	*ret_registration = NULL;
	if (ret)
		return ret;
''',
     'errmsg_is_new_after_a_failure_and_empty_after_success'),
    ('slots-of-other-threads', FORK, 'lib/extent/thread_slot.c',
     'in a child, thread slots of threads that it does not have stay in use',
     '!pthread_atfork(NULL, NULL, thread_slot_after_fork)',
     '!pthread_atfork(NULL, thread_slot_after_fork, NULL)',
     'a_child_can_use_the_thread_slots_of_its_parents_threads'),
    ('ends-are-inherited', FORK, 'lib/extent/thread_slot.c',
     "a child without fork handlers has its parent's list of ended threads' watchers",
     '''	ret = dp_os_map_for_process(sizeof(*ends), &made);
	if (!ret && !atomic''',
     '''	static struct thread_ends plain;

	made = &plain;
	ret = 0;
	if (!atomic''',
     'a_child_of_a_raw_clone_opens_a_pool_while_a_parents_thread_ends'),
    ('child-unlocks', FORK, 'lib/owner/lock.c',
     "a child that releases the lock releases its parent's",
     '''	if (lock->taken && dp_claim_is_ours(lock->claim)) {''',
     '''	if (lock->taken) {''',
     'a_child_releases_what_it_inherited_without_unlocking_the_parent'),
    ('claims-are-inherited', FORK, 'lib/os/os.c',
     'a child has its parent\'s claims',
     'ret = dp_os_advise(*ret_base, size, MADV_WIPEONFORK);',
     'ret = dp_os_advise(*ret_base, size, MADV_NORMAL);',
     'a_process_opens_its_pool_again_after_daemon'),
    ('any-open-file-has-the-lock', HOLDER, 'lib/owner/lock_holder.c',
     'a program that only reads a file is taken for one that keeps its lock',
     '''	return !text[0] || strstr(text, "FLOCK");''',
     '''	return text || fd;''',
     'a_program_that_reads_the_file_is_no_leftover'),
    ('other-namespaces-are-seen', HOLDER, 'lib/check/leftovers.c',
     'W11: processes of other pid namespaces do not count as unknown',
     '''	    stat.st_ino != INITIAL_PID_NAMESPACE)''',
     '''	    stat.st_ino == INITIAL_PID_NAMESPACE + 1)''',
     'processes_of_other_pid_namespaces_are_unknown'),
    ('own-mapping-is-left', HOLDER, 'lib/check/leftovers.c',
     'a search finds what it has mapped itself',
     '''	dp_image_end_segment(image);
	if (ret == -EMEDIUMTYPE)''',
     '''	if (ret == -EMEDIUMTYPE)''',
     'a_process_that_was_sent_the_file_keeps_the_lock'),
    ('rings-are-not-left', HOLDER, 'lib/owner/lock_holder.c',
     'a ring of a process is not listed',
     '''			holder_note(search, DP_LOCK_USE_RING, atoi(fd), index);''',
     '''			continue;''',
     'a_ring_obtained_by_pidfd_getfd_keeps_the_lock'),
    ('threads-are-one', LEFTOVERS, 'lib/owner/lock_holder.c',
     'W18: a thread is taken to have the descriptors of the main thread',
     '''	if (holder_was_examined(search))''',
     '''	if (search->table)''',
     'descriptors_of_a_thread_alone_are_found'),
    ('unknown-table-is-shared', LEFTOVERS, 'lib/owner/lock_holder.c',
     'W11: without kcmp() a thread is taken to have the table of the one before it',
     '''		dp_os_share_files(search->table, search->thread) == DP_YES);''',
     '''		dp_os_share_files(search->table, search->thread) != DP_NO);''',
     'a_table_that_threads_share_is_listed_once'),
    ('ended-main-thread-is-the-end', LEFTOVERS, 'lib/owner/lock_holder.c',
     'W18: a process whose main thread has ended counts as dead',
     '''(state == 'Z' || state == 'X') && threads <= 1;''',
     '''(state == 'Z' || state == 'X') && threads;''',
     'an_owner_whose_main_thread_ended_is_alive'),
    ('long-lists-are-cut', LEFTOVERS, 'lib/owner/lock_holder.c',
     'W18: the list of mappings is read up to 256 KiB',
     '''(64u << 20)''', '''(256u << 10)''',
     'mappings_after_many_others_are_found'),
    ('a-cut-list-is-whole', LEFTOVERS, 'lib/owner/lock_holder.c',
     'W11: a list that was read in part does not count as unknown',
     '''	search->unseen.cut += !search->is_cut;''',
     '''	search->unseen.cut += search->is_cut;''',
     'mappings_after_many_others_are_found'),
    ('unread-process-is-empty', LEFTOVERS, 'lib/owner/lock_holder.c',
     'W11: a process that may not be examined does not count as unknown',
     '''	    (is_refused && !holder_has_memory(search)))''',
     '''	    (is_refused && holder_has_memory(search)))''',
     'a_process_that_may_not_be_examined_is_unknown'),
    ('netlink-refused-is-none', LEFTOVERS, 'lib/check/leftovers.c',
     'W11: verbs contexts that netlink does not list do not count as unknown',
     '''	if (ret)
		leftovers_add_unknown(leftovers, text);''',
     '''	if (ret > 0)
		leftovers_add_unknown(leftovers, text);''',
     'verbs_contexts_are_unknown_if_netlink_is_refused'),
    ('own-lock-is-not-named', FORK, 'lib/owner/lock_holder.c',
     'a process that inherited the lock is not found',
     '''	if (search->pid <= 0)
		return 0;''',
     '''	if (search->pid <= 0 || search->pid == dp_os_pid())
		return 0;''',
     'a_process_opens_its_pool_again_after_daemon'),
    ('abandoned-is-over', ABANDON, 'lib/uring/end.c',
     'C3: holds are dropped when a ring is abandoned, while its read continues',
     '''		ret = dp_uring_pipe_await(uring->pipe, deadline_ns);''',
     '''		dp_uring_pipe_await(uring->pipe, deadline_ns);''',
     'a_hold_is_kept_as_long_as_the_ring_exists'),
    ('abandoned-at-once', ['tests/stress/stress_abandon'], 'lib/uring/end.c',
     'C3: an abandon returns while the kernel has the ring',
     '''	if (!ret)
		ret = dp_uring_pipe_await(uring->pipe, deadline_ns);
''',
     '',
     'no_read_lands_after_its_ring_was_abandoned'),
    ('abandoned-ring-is-kept', ABANDON, 'lib/uring/end.c',
     'C3: a pool is never closed after a ring was abandoned',
     '''	int ret = daxpin_unregister(uring->registration);
''',
     '''	int ret = 0;
''',
     'a_ring_freed_during_a_read_can_be_abandoned'),
    ('emptied-table-is-the-end', ABANDON, 'lib/uring/end.c',
     'C3: a pipe that was taken out of the table is taken for the end of DMA',
     '''	if (dp_uring_pipe_is_hung_up(uring->pipe))
		return abandon_without_sign(uring);
	ret = abandon_renew_pipe(uring);''',
     '''	if (dp_uring_pipe_is_hung_up(uring->pipe))
		return 0;
	ret = abandon_renew_pipe(uring);''',
     'an_emptied_file_table_does_not_prove_that_the_ring_ended'),
    ('quarantine-stays', ABANDON, 'lib/uring/end.c',
     'an abandon of a quarantined ring with a new file table hits an assertion',
     '	uring->end.is_quarantined = false;\n', '',
     'a_quarantined_ring_with_a_new_file_table_can_be_abandoned'),
    ('emptied-table-cannot-be-left', ABANDON, 'lib/uring/end.c',
     'C3: after the file table was emptied the pool can never be closed',
     '''	if (!dp_uring_pipe_is_hung_up(uring->pipe))
		ret = uring->own_files''',
     '''	if (dp_uring_pipe_is_hung_up(uring->pipe))
		ret = -ENXIO;
	else
		ret = uring->own_files''',
     'a_ring_with_an_emptied_table_can_be_detached_when_idle'),
    ('index-of-another-thread', ABANDON, 'lib/uring/register.c',
     'C3: a detach in another thread takes the lock out of another ring',
     '''	if (link->index_flag && link->thread != register_thread())
		return -EEXIST;
''', '',
     'a_ring_index_is_valid_only_in_its_own_thread'),
    ('kept-back-is-not-asked-for', ['tests/unit/uring_reap', 'shmem'],
     'lib/uring/prep.c',
     'C3: completions of a ring with IORING_SETUP_DEFER_TASKRUN are not found',
     '''	if (ret == -EAGAIN && !reap->was_entered &&
	    reap_is_kept_back(reap->ring)) {''',
     '''	if (ret == -EAGAIN && !reap->was_entered &&
	    !reap->ring) {''',
     'reap_handles_all_completions'),
    ('guard-pins-nothing', URING, 'lib/uring/attach.c',
     'C12: a reclaim punches what a guarded ring\'s owner has registered',
     '''		.flags = uring->has_own_buffers ? 0 :
			 DAXPIN_REGISTRATION_BY_SEGMENT,''',
     '''		.flags = DAXPIN_REGISTRATION_BY_SEGMENT,''',
     'a_guard_pins_all_segments_for_the_applications_buffers'),
    ('pinned-while-punched', ['tests/unit/reclaim_job'], 'lib/reclaim/job.c',
     'C12: a pin begins during a punch and is not asked to end',
     '} else if (jobs_are_in_kernel(jobs, segment) ||',
     '} else if ((jobs_are_in_kernel(jobs, segment) && !registration) ||',
     'a_registration_during_a_punch_is_eagain_until_its_end'),
    ('shared-pin-is-kept', SHARE, 'lib/uring/share.c',
     'A6: a segment that no ring has stays pinned, and charged',
     '''	if (!--share->users[index])
		dp_uring_put_buffer(&share->source, index, NULL, 0);''',
     '''	--share->users[index];''',
     'a_shared_segment_is_punched_after_every_ring_gave_it_back'),
    ('others-pins-are-copied', SHARE, 'lib/uring/buffer_slots.c',
     'A6: a ring copies a registration that the pool does not know',
     '''			ret = dp_uring_empty_buffers(&uring->link, first, i - first);''',
     '''			ret = 0;''',
     'a_segment_that_a_reclaim_requests_is_not_copied'),
    ('source-is-kept-by-the-child', SHARE, 'lib/uring/end.c',
     'C2: a child that lives on keeps the ring with the registrations',
     '''	dp_uring_table_close_inherited(uring);
''', '',
     'a_forked_child_can_detach_shared_rings'),
    ('ring-is-kept-by-the-child', URING, 'lib/uring/end.c',
     'a child\'s detach leaves the descriptor of the ring open',
     '''	dp_uring_unlink(&uring->link);
	dp_uring_close(uring->pipe);
	uring->pipe = -1;''',
     '''	uring->pipe = -1;''',
     'a_ring_can_be_detached_in_the_process_that_daemon_leaves'),

    # ------------------------------------------------- small objects (I65, I66, D22, D23)
    ('object-is-not-taken', SLABS, 'lib/extent/slab.h',
     'a reserve leaves the object free',
     '*word | 1ull << bit,',
     '*word,',
     'a_slab_has_its_count_of_objects'),
    ('claimed-object-is-changed', OBJECTS, 'lib/extent/slab.c',
     'a free object is freed again',
     '''		return -ESTALE;
	return is == DP_OBJECT_CLAIMED ? -EBUSY : -EINVAL;''',
     '''		return 0;
	return is == DP_OBJECT_CLAIMED ? -EBUSY : -EINVAL;''',
     'an_object_in_the_wrong_state_is_refused'),
    ('partial-slab-is-closed', SLABS, 'lib/extent/objects.c',
     'a slab with reserved objects is freed',
     'if (dp_slab_place(slab) != DP_SLAB_PARTIAL || !dp_slab_is_empty(slab))',
     'if (dp_slab_place(slab) != DP_SLAB_PARTIAL)',
     'some_empty_slabs_are_kept_and_the_next_one_is_freed'),
    ('full-slab-is-forgotten', SLABS, 'lib/extent/objects.c',
     'a free does not put a full slab into the list',
     '''	if (dp_slab_place(slab) == DP_SLAB_FULL)
		objects_list(list, slab);''', '',
     'a_full_slab_is_used_again_when_an_object_was_freed'),
    ('empty-slab-is-not-noticed', OBJECTS, 'lib/extent/slab.h',
     'a cancel of the last object of a word does not look for an empty slab',
     'word != dp_slab_empty_word(slab, object.index / 32));', '1);',
     'slabs_that_cancels_have_emptied_are_given_back'),
    ('full-slab-is-not-noticed', OBJECTS, 'lib/extent/slab.h',
     'a cancel does not put a full slab into the list',
     '(place == DP_SLAB_PARTIAL &&', '(place != DP_SLAB_CLOSING &&',
     'an_object_of_a_full_slab_is_found_after_its_cancel'),
    ('slab-without-bits', OBJECTS, 'lib/core/slabs.c',
     'the words of a new slab keep the bytes of an earlier extent',
     '''		ret = slab_write_bits(pool, addr, class);''',
     '''		(void)slab_write_bits;''',
     'each_size_from_1_to_2048_wastes_at_most_an_eighth'),
    ('object-bits-one-at-a-time', OBJECTS, 'lib/core/object_step.c',
     'of several objects whose bits share a word only the first is durable',
     '''	for (size_t i = 0; i < batch->count; i++)
		if (TYPE(batch->step[i].op->type) & TYPES_OBJECT)
			dp_object_toggle(batch->step[i].object);''',
     '''	for (size_t i = 0; i < 1; i++)
		if (TYPE(batch->step[i].op->type) & TYPES_OBJECT)
			dp_object_toggle(batch->step[i].object);''',
     'a_publish_takes_extents_and_objects_together'),
    ('rooted-object-is-freed', OBJECTS, 'lib/core/object_step.c',
     'an object that a root names is freed',
     'if (!dp_slab_roots(step->object.slab))',
     'if (dp_slab_roots(step->object.slab))',
     'an_object_that_a_root_names_is_not_freed'),
    ('status-unchecked', STATUS, 'lib/pool/status.c',
     'W16: a snapshot that was replaced while it was copied is used',
     '''	return s->check == status_check_of(s) && status_is_plausible(s);''',
     '''	return status_is_plausible(s);''',
     'an_owner_that_dies_while_it_writes_leaves_the_last_snapshot'),
    ('status-in-one-slot', STATUS, 'lib/pool/status.c',
     'W16: both slots are the same, so a half-written one is the newest',
     '''	return turn % 2 * slot_size + DP_STATUS_SLOTS;''',
     '''	return turn % 1 * slot_size + DP_STATUS_SLOTS;''',
     'an_owner_that_dies_while_it_writes_leaves_the_last_snapshot'),
    ('status-label-without-end', STATUS, 'lib/pool/status.c',
     'W16: a label of a forged page is read past its end',
     '''		if (!memchr(holder[i].label, '\\0', DP_STATUS_LABEL))''',
     '''		if (!s->segments && holder)''',
     'a_forged_label_without_an_end_is_refused'),
    ('status-of-another-version', STATUS, 'lib/pool/status.c',
     'W16: a page of an older version is read as one of this version',
     '''	if (header->version && header->version != DP_STATUS_VERSION)''',
     '''	if (header->version > DP_STATUS_VERSION)''',
     'a_changed_header_is_refused'),
    ('status-of-a-copy', STATUS, 'lib/pool/status.c',
     'W16: the page of a copied directory is shown as that of the copy',
     '''	if (header->inode != page->stat.st_ino)''',
     '''	if (!header->inode)''',
     'a_copied_page_is_refused'),
    ('status-follows-a-link', STATUS, 'lib/pool/status.c',
     'W17: the page is written into a file that was prepared',
     '''	int fd, ret = dp_os_unlink(dir, name);

	if (ret && ret != -ENOENT)
		return ret;
	fd = dp_os_open(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);''',
     '''	int fd, ret;

	fd = dp_os_open(dir, name, O_RDWR | O_CREAT, 0600);''',
     'a_prepared_name_is_replaced_and_not_followed'),
    ('status-of-anybody', STATUS, 'lib/pool/status.c',
     'W17: what another user has written is shown',
     '''	if (!uid || uid == dp_os_user() ||''',
     '''	if (uid || !uid ||''',
     'a_page_of_another_user_is_refused'),
]
