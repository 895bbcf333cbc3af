# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in how grants end: a failure of one grant that affects others, callbacks, late
answers, executors. The rule that each breaks is in docs/invariants.md, which names
these mutants. The last item is the test that must fail."""

ENDING = ['tests/unit/rdma_ending']
WINDOW = ['tests/unit/rdma_window']
BACKING = ['tests/unit/rdma_backing']
PUBLISH = ['tests/unit/rdma_publish']
ATTACH = ['tests/unit/rdma_attach']
TABLE = ['tests/unit/rdma_table']
OFI = ['tests/unit/ofi_ending']
OFI_LOCAL = ['tests/unit/ofi_local', 'tcp;ofi_rxm']
OFI_REVOKE = ['tests/unit/ofi_revoke', 'tcp;ofi_rxm']
OFI_PROVIDER = ['tests/unit/ofi_provider']
STATE = ['tests/unit/extent_state']
HOLDS = ['tests/unit/api_hold_many']
MANY = ['tests/unit/api_many']
STRESS = ['tests/stress/stress', '--seconds', '30', '--seed', '1']

MUTANTS = [
    # ------------------------------------------------------------- over libfabric
    ('endpoint-stays-open', OFI_REVOKE, 'lib/ofi/ending.c',
     'a revoke closes the region and not the endpoint',
     '	return grant->ofi->report.ends != DAXPIN_OFI_ENDS_REGION;',
     '	return false;',
     'a_revoke_in_the_middle_of_a_write_lets_no_byte_arrive_late'),
    ('refused-endpoint-is-over', OFI, 'lib/ofi/ending.c',
     'the holds are dropped although the endpoint remains open',
     '		ret = ending_close_endpoint(peer);',
     '		ending_close_endpoint(peer);',
     'a_grant_whose_access_does_not_end_is_quarantined'),
    ('first-peer-ends-the-service', OFI, 'lib/ofi/peer.c',
     'a peer whose endpoint cannot be closed delays the others',
     '		first = first ? first : ret;\n	}\n	pthread_mutex_unlock(&ofi->peers_lock);',
     '		first = first ? first : ret;\n		if (first)\n			break;\n	}\n	pthread_mutex_unlock(&ofi->peers_lock);',
     'the_service_ends_the_grants_of_other_peers_if_one_fails'),
    ('done-in-ask-back', OFI, 'lib/ofi/ending.c',
     'done() is called in the middle of ask_back()',
     '	defer = grant->in_callback;',
     '	defer = false;',
     'done_follows_ask_back_even_if_that_ends_the_grant'),
    ('region-is-closed-once', OFI, 'lib/ofi/ending.c',
     'an interrupted close of a region closes the endpoint',
     """		ret = grant->region ? dp_region_close(grant->region) : 0;
	while (dp_retry(&retry, ret));""",
     """		ret = grant->region ? dp_region_close(grant->region) : 0;
	while (false && dp_retry(&retry, ret));""",
     'a_refusal_that_passes_is_tried_again'),
    ('answer-of-any-open', OFI, 'lib/ofi/peer.c',
     "an answer names a grant whatever the extent's generation",
     '	       grant->key.extent.gen == key->extent.gen &&\n',
     '',
     'a_late_answer_ends_no_other_grant'),
    ('local-request-without-hold', OFI_LOCAL, 'lib/ofi/local.c',
     'the hold of a local request ends in its prep',
     '	io->local = local;\n	io->self = io;\n',
     '	io->local = local;\n	io->self = io;\n	daxpin_drop_labelled(local->pool, &io->hold);\n',
     'retired_blocks_are_reused_after_the_error_entry'),
    ('open-region-drops-hold', OFI_LOCAL, 'lib/ofi/local.c',
     'the hold of a local request is dropped although its region stays open',
     '	ret = local_close_region(io);',
     '	local_close_region(io);',
     'a_region_that_stays_open_keeps_the_hold'),
    ('copy-ends-the-request', OFI_LOCAL, 'lib/ofi/local.c',
     'a copy of a request ends it',
     '	is_mine = io->self == io;',
     '	is_mine = io->self;',
     'a_hold_is_dropped_once'),
    ('local-range-wraps', OFI_LOCAL, 'lib/ofi/local.c',
     'the end of the range of a local request wraps around',
     '	    length <= io->hold.bytes - offset && io->memory)',
     '	    offset + length <= io->hold.bytes && io->memory)',
     'a_request_outside_of_an_extent_is_refused'),
    ('local-close-leaves-requests', OFI_LOCAL, 'lib/ofi/local.c',
     'a domain is given up while requests are in flight',
     '	if (!ret && local_in_flight(local))',
     '	if (!ret && local_in_flight(local) == UINT64_MAX)',
     'retired_blocks_are_reused_after_the_error_entry'),

    ('trial-without-control', OFI_PROVIDER, 'lib/ofi/trial.c',
     'a provider that delivers nothing is one that delivers nothing late',
     '	sum->missing = t->length - arrived;',
     '	sum->missing = 0 * arrived;',
     'a_trial_whose_control_fails_has_no_verdict'),
    ('endpoint-without-a-part', OFI_PROVIDER, 'lib/ofi/trial.c',
     'a close is trusted although it never met a write in the middle',
     '	       (sum->partial >= PARTIAL_ENDPOINT || t->is_atomic);',
     '	       (sum->partial >= PARTIAL_ENDPOINT || t->memory);',
     'without_a_write_that_was_partly_there_there_is_no_verdict'),
    ('wait-without-steps', OFI_PROVIDER, 'lib/ofi/trial.c',
     'late bytes are awaited for a time alone',
     '	return wait->steps++ < STEPS_MIN ||',
     '	return wait->steps++ < 1 ||',
     'late_bytes_are_awaited_for_a_number_of_steps'),
    ('refused-region-is-forgotten', OFI_PROVIDER, 'lib/ofi/endpoint.c',
     'a region that was neither opened nor closed leaves its memory free',
     '	if (!ret || dp_region_close(region))',
     '	if (!ret || (dp_region_close(region), false))',
     'a_region_that_is_neither_opened_nor_closed_is_quarantined'),
    ('refused-endpoint-is-forgotten', OFI_PROVIDER, 'lib/ofi/peer.c',
     'an endpoint that was neither opened nor closed is forgotten',
     '	if (!ret || dp_endpoint_is_open(&peer->endpoint)) {',
     '	if (!ret) {',
     'an_endpoint_neither_opened_nor_closed_delays_the_detach'),

    ('named-device-is-accepted', OFI, 'lib/ofi/provider.c',
     'a provider uses a device of which the process has no context',
     '	if (ret == 1)\n		return 0;\n	if (!ret)',
     '	if (ret >= 0)\n		return 0;\n	if (!ret)',
     'an_attach_refuses_what_it_cannot_end'),
    ('device-before-a-transfer', OFI_PROVIDER, 'lib/ofi/trial.c',
     'the devices of a process are listed before a provider has transferred a byte',
     '	if (!ret)\n		ret = trial_write_whole(t, &arrived);\n	if (!ret && arrived',
     '	arrived = t->length;\n	if (!ret && arrived',
     'a_device_that_the_first_transfer_opens_is_seen'),
    ('registers-are-memory', OFI_PROVIDER, 'lib/ofi/provider.c',
     '/dev/mem and /dev/port count as plain memory',
     '	return minor == 3 ||',
     '	return minor <= 4 ||',
     'of_the_memory_devices_those_that_reach_others_count'),
    ('open-device-is-accepted', OFI_PROVIDER, 'lib/ofi/trial.c',
     'in a process with an open device its process stores the bytes',
     '	} else if (!devices) {',
     '	} else if (devices >= 0) {',
     'with_a_device_open_no_memory_of_the_pool_is_used'),
    ('late-bytes-are-freed', OFI_PROVIDER, 'lib/ofi/adapter.c',
     'memory in which bytes arrived after all was closed is reused',
     '	*ret_kept = ofi->report.ends == DAXPIN_OFI_ENDS_NOTHING;',
     '	*ret_kept = false;',
     'if_all_remains_the_memory_stays_held'),
    ('removed-device-is-a-file', OFI_PROVIDER, 'lib/ofi/provider.c',
     'a mapped device whose file was removed is a file that was removed',
     'strncmp(path, "/dev/", 5) ||',
     'path[0] ||',
     'a_mapped_device_is_found'),

    # ---------------------------------------------- one failure and others (C5)
    ('key-error-ends-the-service', ENDING, 'lib/rdma/attach.c',
     'if a local key cannot be ended, no grant is ended',
     '''	ret = dp_revokes_service(rdma);
	keys_ret = dp_local_keys_service(rdma);
	return ret ? ret : keys_ret;''',
     '''	keys_ret = dp_local_keys_service(rdma);
	ret = keys_ret ? 0 : dp_revokes_service(rdma);
	return ret ? ret : keys_ret;''',
     'a_stuck_local_key_does_not_delay_a_revoke'),
    ('first-key-error-ends-all', ENDING, 'lib/rdma/local_key.c',
     'if one local key cannot be ended, the later ones are not tried',
     '''		if (dp_retry_is_transient(ret))
			*ret_transient = ret;
''',
     '''		if (dp_retry_is_transient(ret))
			*ret_transient = ret;
		if (ret)
			break;
''',
     'a_stuck_local_key_does_not_delay_a_revoke'),
    ('grant-error-ends-the-service', PUBLISH, 'lib/rdma/revoke.c',
     'if one grant cannot be ended, the service call does not end the others',
     '''		ret = revoke_end_queued_and_unlock(grant);
		if (!first)
			first = ret;
		revoke_lock(rdma);''',
     '''		ret = revoke_end_queued_and_unlock(grant);
		revoke_lock(rdma);
		if (ret)
			return ret;
		first = 0;''',
     'the_service_ends_the_other_grants_if_one_fails'),
    ('publish-stops-at-the-first', ENDING, 'lib/rdma/publish.c',
     'if one grant of the call cannot be ended, the others are not tried',
     '	for (size_t i = 0; i < grant_count; i++) {',
     '	for (size_t i = 0; !first && i < grant_count; i++) {',
     'a_publish_ends_the_other_grants_if_one_fails'),
    ('detach-stops-at-the-first', ENDING, 'lib/rdma/local_key.c',
     'if one local key cannot be ended, the detach does not try the others',
     '''		ret = local_key_close(rdma, slot);
''',
     '''		ret = first ? 0 : local_key_close(rdma, slot);
''',
     'a_detach_ends_the_other_local_keys_if_one_fails'),

    # ----------------------------------------------------------- callbacks (C6)
    ('launched-in-a-callback', ENDING, 'lib/rdma/revoke.c',
     'done() does not wait for ask_back() to return',
     '	if (grant->revoke.in_callback) {',
     '	if (false) {',
     'done_is_called_after_ask_back_returned'),
    ('revoked-in-a-callback', ENDING, 'lib/rdma/revoke.c',
     'a revoke returns while ask_back() runs in another thread',
     '	while (!dp_revoke_is_over(grant) && revoke_is_called_elsewhere(grant))',
     '''	while (false && revoke_is_called_elsewhere(grant))''',
     'a_revoke_waits_for_ask_back'),
    ('asked-after-done', ENDING, 'lib/rdma/revoke.c',
     'a peer is asked after done() was called',
     '		grant->revoke.was_asked ? NULL : grant->revoke.ask_back;',
     '		grant->revoke.ask_back;',
     'a_peer_is_not_asked_back_after_done_reported_a_failure'),

    # ---------------------------------------------------------- exclusion (C7)
    ('exclusive-beside-others', STATE, 'lib/extent/state_word.h',
     'an exclusive hold is granted while other holds exist',
     '	       (dp_word_count(word) || count > 1 || word & DP_WORD_PUBLISHING);',
     '	       (count > 1 || word & DP_WORD_PUBLISHING);',
     'an_exclusive_hold_excludes_all_others'),
    ('others-beside-exclusive', STATE, 'lib/extent/state_word.h',
     'a hold is granted while an exclusive one exists',
     '''	if (word & DP_WORD_EXCLUSIVE)
		return true;
	return flags''',
     '''	return flags''',
     'every_cell_of_the_table'),
    ('others-beside-exclusive-raced', STRESS, 'lib/extent/state_word.h',
     'the same, found by threads',
     '''	if (word & DP_WORD_EXCLUSIVE)
		return true;
	return flags''',
     '''	return flags''',
     'no_block_has_two_generations_at_once'),
    ('kept-while-exclusive', STATE, 'lib/extent/state.c',
     'a KEEP succeeds on an extent that is held exclusively',
     'if (!ret && word & DP_WORD_EXCLUSIVE && from == DP_STATE_RESERVED)',
     'if (false)',
     'every_cell_of_the_table'),
    ('bounced-beside-others', BACKING, 'lib/rdma/backing.c',
     'the copy back overwrites what others wrote meanwhile',
     'o->access & WRITES ? DAXPIN_HOLD_EXCLUSIVE : 0;',
     'o->access & WRITES ? 0 : 0;',
     'a_bounced_write_grant_excludes_holds_grants_and_publishes'),
    ('zeroed-beside-others', BACKING, 'lib/grant/memory.c',
     'a second grant zeroes what the first peer wrote',
     'const uint32_t access = DAXPIN_HOLD_WRITE | DAXPIN_HOLD_EXCLUSIVE;',
     'const uint32_t access = DAXPIN_HOLD_WRITE;',
     'a_zeroing_grant_is_refused_while_others_hold'),
    ('all-comes-home', BACKING, 'lib/rdma/backing.c',
     "a part of an extent is copied back to the extent's beginning",
     'void *home = daxpin_ptr(pool, key->extent, key->offset);',
     'void *home = daxpin_ptr(pool, key->extent, 0);',
     'a_bounced_grant_writes_back_only_its_part'),

    # ------------------------------------------------- trials that are not made
    ('no-trial-is-a-verdict', BACKING, 'lib/rdma/backing.c',
     'if the link is down at the attach, all later grants are copies',
     '	if (backing->is_kept || backing_is_untried(odp))',
     '	if (backing->is_kept)',
     'a_trial_on_a_link_that_is_down_is_repeated'),
    ('full-is-untried', BACKING, 'lib/rdma/backing.c',
     'the trial of the device depends on how full the pool is',
     '''	if (!tried)
		backing_try_scratch(rdma);''',
     '''	if (!tried)
		(void)backing_try_scratch;''',
     'attach_to_a_full_pool_makes_the_trial_on_a_file_beside_it'),

    ('windows-are-tried-once', WINDOW, 'lib/rdma/backing.c',
     'if the link is down at the attach, no later grant is a window',
     '''	if (!backing_is_untried(&report->window2) &&
	    !backing_is_untried(&report->window1))
		atomic''',
     '''	if (report)
		atomic''',
     'a_window_trial_on_a_link_that_is_down_is_repeated'),
    ('connection-is-tried-once', WINDOW, 'lib/rdma/backing.c',
     'a connection that fails after a late trial is never made',
     'atomic_store(&backing->windows_wanted, !kept);',
     'atomic_store(&backing->windows_wanted, false);',
     'a_connection_that_fails_after_the_trial_is_made_later'),

    # ----------------------------------------------------- passing failures (C8)
    ('interruption-is-a-refusal', ENDING, 'lib/grant/retry.c',
     'a call that a signal interrupted leads to a quarantine',
     '	return ret == -EINTR || ret == -EAGAIN || ret == -EBUSY;',
     '	return ret == -EAGAIN || ret == -EBUSY;',
     'a_temporary_failure_does_not_escalate'),
    ('busy-is-a-refusal', ENDING, 'lib/grant/retry.c',
     'a device that is busy for a moment leads to a quarantine',
     '	if (retry->refusals == REFUSALS_MAX)',
     '	if (ret)',
     'a_temporary_failure_does_not_escalate'),
    ('queue-pair-is-tried-once', ENDING, 'lib/rdma/escalate.c',
     'after a signal the queue pair is not stopped',
     '''		escalate_unlock(grant->rdma);
	} while (dp_retry(&retry, ret));''',
     '''		escalate_unlock(grant->rdma);
	} while (false && dp_retry(&retry, ret));''',
     'an_interrupted_queue_pair_stop_is_repeated'),
    ('registration-is-tried-once', ENDING, 'lib/rdma/mr.c',
     'a grant fails after a signal',
     '''		ret = dp_mr_register_once(pd, base, length, access, ret_mr);
	while (dp_retry(&retry, ret));''',
     '''		ret = dp_mr_register_once(pd, base, length, access, ret_mr);
	while (false && dp_retry(&retry, ret));''',
     'an_interrupted_registration_is_repeated'),
    ('window-is-made-once', ['tests/unit/rdma_cancel_window'], 'lib/rdma/window.c',
     'if a window is not allocated at the first try, a region is used',
     '	} while (dp_retry(&retry, ret));',
     '	} while (false && dp_retry(&retry, ret));',
     'a_device_call_that_fails_temporarily_is_repeated'),
    ('window-is-tried-once', WINDOW, 'lib/rdma/access.c',
     'a window is lost after a signal',
     '	while (dp_retry(&retry, close_ret));',
     '	while (false && dp_retry(&retry, close_ret));',
     'freeing_a_window_is_repeated_after_an_interruption'),

    # --------------------------------------------------------- over already (C9)
    ('over-is-stale', ENDING, 'lib/rdma/revoke.c',
     'a commit fails because its grant has ended',
     '	return ret == -ESTALE ? 0 : ret;\n}\n\nDP_EXPORT int daxpin_rdma_revoke(',
     '	return ret;\n}\n\nDP_EXPORT int daxpin_rdma_revoke(',
     'a_publish_after_the_grant_expired_succeeds'),
    ('ended-extent-is-stale', PUBLISH, 'lib/rdma/publish.c',
     'an extent that was retired while it was granted makes every publish fail',
     '	if (ret && ret != -ESTALE)',
     '	if (ret)',
     'a_publish_accepts_extents_that_end_with_their_grants'),

    # ------------------------------------------------- regions of its own (C12)
    ('own-regions-do-not-count', ENDING, 'lib/rdma/attach.c',
     'a reclaim punches below a region that the caller made',
     'if (o->flags & DAXPIN_RDMA_NO_REGIONS)',
     'if (o)',
     'unless_attached_with_no_regions_a_domain_pins_all_segments'),

    ('refused-attach-is-registered', ATTACH, 'lib/rdma/attach.c',
     'an attach that is refused during a punch leaves a registration',
     '		end_ret = daxpin_unregister(rdma->registration);',
     '		end_ret = 0;',
     'an_attach_that_is_refused_leaves_nothing_registered'),

    # ------------------------------------------- queue pairs of another domain (I40)
    ('later-queue-pair-of-any-domain', ATTACH, 'lib/rdma/escalate.c',
     'a grant takes a queue pair of another domain, if it is set later',
     'if (!ret && qp && qp->pd != grant->rdma->pd)',
     'if (!ret && qp && !qp->pd)',
     'no_grant_takes_a_queue_pair_of_another_attachment'),

    # -------------------------------------------------------- late answers (C10)
    ('numbers-of-each-attachment', ATTACH, 'lib/rdma/grant.c',
     'two attachments have grants with the same numbers',
     '	grant->key.id = dp_grant_next_id();',
     '	grant->key.id = ((void)dp_grant_next_id, rdma->revokes.totals.granted + 1);',
     'a_key_returns_no_grant_of_another_attachment'),
    ('answer-by-extent', ENDING, 'lib/rdma/grant.c',
     'the grants of an extent have one number',
     '	grant->key.id = dp_grant_next_id();',
     '	grant->key.id = ((void)dp_grant_next_id, extent.addr / 4096);',
     'returned_with_an_old_key_ends_no_other_grant'),
    ('answer-of-yesterday', ENDING, 'lib/rdma/revoke.c',
     "an answer names a grant by its number, whatever the extent's generation",
     '	       grant->key.extent.gen == key->extent.gen &&\n',
     '',
     'returned_with_an_old_key_ends_no_other_grant'),

    # --------------------------------------------------------------- executors
    ('refused-is-lost', ENDING, 'lib/rdma/revoke.c',
     'a job that the executor refused is not offered again',
     '''		revoke_offer_again(rdma);''',
     '''		(void)revoke_offer_again;''',
     'a_job_that_the_executor_refuses_is_offered_again'),
    ('lost-job-loses-the-grant', ENDING, 'lib/rdma/revoke.c',
     'a revoke does not take over a job that the executor has',
     '	return dp_pending_is_queued(grant) || dp_handoff_take(grant);',
     '	return dp_pending_is_queued(grant);',
     'a_revoke_ends_a_grant_whose_job_the_executor_lost'),
    ('taken-job-runs', ENDING, 'lib/rdma/handoff.c',
     'the executor ends a grant whose job was taken over',
     '''bool dp_handoff_take(struct daxpin_grant *grant)
{
	return handoff_change(grant, 0, 0, CLAIMED, 0) & CLAIMED;''',
     '''bool dp_handoff_take(struct daxpin_grant *grant)
{
	return handoff_change(grant, 0, 0, 0, 0) & CLAIMED;''',
     'a_revoke_ends_a_grant_whose_job_the_executor_lost'),
    ('cancelled-in-the-executor', ENDING, 'lib/rdma/revoke.c',
     'a thread that is cancelled leaves its grant ended in part',
     '''	struct daxpin_grant *grant = arg;
	DP_UNCANCELLED();
''',
     '''	struct daxpin_grant *grant = arg;
''',
     'a_cancelled_executor_ends_its_grant'),

    # ---------------------------------------------------------------- very many
    ('lists-lose-holds', HOLDS, 'lib/extent/holders.c',
     'labels are lost when a shard gets more lists',
     '	for (uint32_t i = 0; i < lists; i++)\n		for (hold = list[i]; hold; hold = next) {',
     '	for (uint32_t i = 1; i < lists; i++)\n		for (hold = list[i]; hold; hold = next) {',
     'thousands_of_labelled_holds_are_all_listed'),
    ('answers-by-low-bits', TABLE, 'lib/rdma/table.c',
     'each answer searches many grants if several attachments make grants in turn',
     'uint64_t hash = (id * UINT64_C(0x9e3779b97f4a7c15)) >> 32;',
     'uint64_t hash = id;',
     'grants_with_numbers_at_any_distance_are_spread'),
    ('shards-by-low-bits', HOLDS, 'lib/extent/holders.h',
     'labelled holds of large extents all take one mutex',
     '	return dp_holder_hash(addr) >> 58;',
     '	return (addr >> 12) % DP_HOLDER_SHARDS;',
     'labels_are_spread_over_mutexes_at_any_extent_distance'),
    ('last-extents-not-shown', HOLDS, 'lib/api/hold.c',
     'the last few extents of a segment are not reported',
     '	if (fn && count)',
     '	if (fn && count > HELD_AT_ONCE)',
     'thousands_of_labelled_holds_are_all_listed'),
    ('watch-lists-by-low-bits', MANY, 'lib/extent/event.c',
     'watches of large extents are all in one list, which each drop searches',
     'uint64_t hash = (addr >> 12) * 0x9e3779b97f4a7c15ull;',
     'uint64_t hash = addr >> 12 << 32;',
     'watches_of_extents_at_any_distance_are_spread'),
    ('watch-lists-stay-few', MANY, 'lib/extent/event.c',
     'the number of lists of watches does not grow',
     '	if (events->waiting_count >= events->buckets)',
     '	if (!events->buckets)',
     'watches_of_extents_at_any_distance_are_spread'),
    ('watch-lists-lose-watches', MANY, 'lib/extent/event.c',
     'watches are lost when the number of lists grows',
     '	for (uint32_t i = 0; i < buckets; i++)\n		for (watch = before[i];',
     '	for (uint32_t i = 1; i < buckets; i++)\n		for (watch = before[i];',
     'watches_of_extents_at_any_distance_are_spread'),
    ('registrations-lose-their-neighbour', MANY, 'lib/extent/holders.c',
     'the registration after one that ended cannot be ended',
     '		registration->next->prev = registration->prev;',
     '		registration->next->prev = &registration->next;',
     'registrations_end_in_any_order'),
    ('jobs-that-are-over-stay-listed', MANY, 'lib/reclaim/job.c',
     'each job searches all jobs that are over but not ended',
     '		if (!at->open_parts)\n			job_unlist(at);',
     '		if (!at->jobs)\n			job_unlist(at);',
     'jobs_that_are_over_leave_the_list'),
    ('notices-lose-their-neighbour', MANY, 'lib/extent/event.c',
     'the event after one that was withdrawn cannot be withdrawn',
     '		notice->next->prev = notice->prev;',
     '		notice->next->prev = &notice->next;',
     'jobs_that_are_over_leave_the_list'),

    # ---------------------------------------------------------------- two pools
    ('hold-of-any-pool', MANY, 'lib/extent/holders.c',
     'a labelled hold is dropped in another pool, and another hold ends',
     'hold->owner != holders || hold->shard',
     'hold->shard',
     'a_labelled_hold_is_dropped_only_in_its_own_pool'),
    ('watch-of-any-pool', MANY, 'lib/extent/event.c',
     'a watch is removed in another pool, without its mutex',
     'watch->owner == events ? 1 : -EINVAL',
     'watch->owner ? 1 : -EINVAL',
     'a_watch_is_taken_back_only_in_its_own_pool'),
    ('trial-without-a-guard', ENDING, 'lib/rdma/scratch.c',
     'SIGXFSZ ends the process when a trial on a full pool meets a limit',
     '	bool was = size_signal_block(&before);',
     '	bool was = (sigprocmask(SIG_BLOCK, NULL, &before), false);'),
    ('heap-does-not-go-down', ENDING, 'lib/rdma/pending.c',
     'the heap is not in order after its first entry was removed',
     '''	pending_move_up(pending, last);
	pending_move_down(pending, last);''',
     '''	pending_move_up(pending, last);''',
     'grants_expire_in_the_order_of_their_deadlines'),
]
