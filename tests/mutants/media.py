# SPDX-License-Identifier: BSD-3-Clause
"""Bugs about bad media: in finding out which blocks are bad, in never reserving them,
and in reading where there may be poison."""

TEST = ['tests/unit/media_badblocks']
FOUND = ['tests/unit/core_medium']
SOURCE = ['tests/unit/pool_source']

MUTANTS = [
    # -------------------------------------------------------------- the lists
    ('bad-end-not-rounded', TEST, 'lib/media/badblocks.c',
     'the last sectors of a bad run leave their block usable',
     'dp_round_up(last, DP_BLOCK_SIZE));',
     'last & ~(DP_BLOCK_SIZE - 1) ? : 1);'),
    ('bad-list-not-sorted', TEST, 'lib/media/badblocks.c',
     'the binary search misses runs',
     'qsort(badblocks->run, badblocks->runs, sizeof(*badblocks->run),\n	      badblocks_compare);',
     '(void)badblocks_compare;'),
    ('bad-list-not-joined', TEST, 'lib/media/badblocks.c',
     'of adjacent runs only the first is bad',
     '''			badblocks->run[last].end = run.end;''',
     '''			continue;'''),
    ('bad-list-cut', TEST, 'lib/media/badblocks.c',
     'a list that sysfs shows only in part is taken for the whole list',
     '''	if (*line)
		badblocks->unknown = true;''',
     ''),
    ('bad-list-nonsense', TEST, 'lib/media/badblocks.c',
     'a disk without a list is taken for a good one',
     '''		    sector > SECTORS_MAX - count)
			badblocks->unknown = true;''',
     '''		    sector > SECTORS_MAX - count)
			;'''),
    ('bad-region-start', TEST, 'lib/media/badblocks.c',
     'sectors of the region are taken for sectors of the device',
     'begin > from ? begin - from : 0,\n				 end - from);',
     'begin, end);'),
    ('bad-file-offset', TEST, 'lib/media/badblocks.c',
     'every extent of a file is taken for its first',
     'uint64_t first = run.begin - physical + offset;',
     'uint64_t first = run.begin - physical;'),
    ('bad-realtime', TEST, 'lib/media/badblocks.c',
     'addresses on the realtime device are looked up on the other',
     'if (dp_os_is_realtime(fd))',
     'if (0)'),
    ('bad-not-listed', TEST, 'lib/pool/pool.c',
     'the kernel is not asked',
     'return ret ? ret : pool_list_bad(pool);',
     'return (void)pool_list_bad, ret;'),
    # -------------------------------------------------------------- the space
    ('bad-not-quarantined', TEST, 'lib/core/recover.c',
     'known bad blocks are reserved',
     '''		ret = dp_bits_quarantine(dp_spaces_bits(&pool->spaces, index),
					 run.begin >> DP_BLOCK_SHIFT, blocks);''',
     '''		ret = 0;'''),
    ('bad-freed-by-retire', TEST, 'lib/extent/bits.c',
     'a bad block is freed with the extent that had it',
     '''	if (!bits->quarantine)
		return quarantined''',
     '''	if (bits->blocks)
		return quarantined'''),
    ('bad-kept-by-a-thread', TEST, 'lib/extent/spaces.c',
     "a bad block is reserved from a thread's cache",
     '''	if (dp_bits_quarantined_count(bits))
		spaces->quarantine = true;''',
     '''	(void)bits;''',
     'a_bad_block_of_a_small_extent_is_not_cached'),
    ('bad-counted-as-damage', TEST, 'lib/core/recover.c',
     'bad blocks count as quarantined for damage',
     'pool->quarantined_blocks += all - bad;',
     'pool->quarantined_blocks += all;'),
    ('bad-metadata-counted', TEST, 'lib/core/recover.c',
     'bad metadata counts as bad space',
     'uint64_t at = dp_geometry_meta_size(&pool->media.geometry), bad = 0;',
     'uint64_t at = 0, bad = 0;'),
    ('create-over-bad', TEST, 'lib/pool/create.c',
     'metadata is written over bad blocks',
     'ret = dp_pool_check_medium(pool, 0, request->errmsg);',
     '(void)dp_pool_check_medium;'),
    ('create-over-unreadable', TEST, 'lib/pool/create.c',
     'a read error is reported as another error',
     '''	if (ret && ret != -EMEDIUMTYPE && ret != -EUCLEAN &&
	    ret != -EPROTONOSUPPORT)''',
     '''	if (false)'''),
    ('set-over-bad', TEST, 'lib/core/publish.c',
     'a SET stores where the medium is known to be bad',
     '''			 sizeof(step->op->value)) ? -EIO : 0;''',
     '''			 sizeof(step->op->value)) ? 0 : 0;'''),
    ('replay-over-bad', TEST, 'lib/core/recover.c',
     'recovery stores where the medium is bad',
     'ret = dp_badblocks_read(view, offset, &was, sizeof(was));',
     'ret = 0, (void)was, (void)offset;'),
    # ---------------------------------------------------------------- reading
    ('read-touches-known-bad', TEST, 'lib/media/badblocks.c',
     'a device is read where it is known to be bad',
     '''	if (dp_badblocks_find(view->badblocks, offset, offset + size, &run))
		return -EIO;''',
     '''	(void)run;'''),
    ('read-tries-the-mapping', TEST, 'lib/media/badblocks.c',
     'after read() met poison the mapping is tried',
     '''	if (ret)
		return ret;
	if (done == size)''',
     '''	if (done == size)'''),
    ('read-short', TEST, 'lib/media/badblocks.c',
     'the bytes after a short read() are copied from the beginning',
     'dp_os_copy_checked((char *)to + done, view->base + offset + done,',
     'dp_os_copy_checked((char *)to + done, view->base + offset,'),
    ('read-nothing', TEST, 'lib/api/reserve.c',
     'a length of 0 reads everything',
     '''	if (ret || !length)
		return ret;
	ret = dp_read''',
     '''	if (ret)
		return ret;
	length = range;
	ret = dp_read'''),
    ('read-of-another-generation', TEST, 'lib/api/reserve.c',
     'bytes of the next generation are returned for this one',
     '''	if (dp_find(pool, extent, &handle))
		return -ESTALE;
	return ret;''',
     '''	return ret;'''),
    ('copy-leaks', TEST, 'lib/os/os.c',
     'each copy leaves a descriptor open',
     '''	close(fd[0]);
	close(fd[1]);
	return ret;''',
     '''	close(fd[0]);
	return ret;'''),
    ('copy-blames-the-medium', TEST, 'lib/os/os.c',
     'a lack of descriptors is reported as a bad medium',
     '''	return os_result(pipe2(ret_fd, O_CLOEXEC | O_NONBLOCK));''',
     '''	return pipe2(ret_fd, O_CLOEXEC | O_NONBLOCK) ? -EIO : 0;'''),
    ('table-not-tolerant', TEST, 'lib/media/table.c',
     'a degraded open stops at a page that cannot be read',
     '''	if (ret != -EIO || !tolerant)
		return ret;
	for (ret = 0;''',
     '''	if (ret || !tolerant)
		return ret;
	for (ret = 0;'''),
    ('bad-offset-not-named', TEST, 'lib/media/badblocks.c',
     'the message has the beginning of the structure, not the bad offset',
     '''	while (at < offset + size &&
	       dp_badblocks_read(view, at, block, DP_BLOCK_SIZE) != -EIO)''',
     '''	while (0)'''),
    # ------------------------------------------------- found while it is open
    ('found-bad-not-quarantined', FOUND, 'lib/core/medium.c',
     'the next extent gets a block that a read found bad',
     'if (medium_read(pool, block, 0, copy, sizeof(copy)) == -EIO)',
     'if (medium_read(pool, block, 0, copy, sizeof(copy)) == 1)'),
    ('failure-takes-all-empty-slabs', FOUND, 'lib/core/slabs.c',
     'after a failure of the medium no object can be reserved in empty slabs',
     '''		while (!dp_persist_error(persist) &&
''',
     '''		while (persist &&
''',
     'a_failure_of_the_medium_keeps_the_other_empty_slabs'),
    ('found-bad-goes-to-a-cache', FOUND, 'lib/extent/spaces.c',
     'a thread that frees a bad block puts it into its cache',
     '''	spaces->quarantine = true;
	return dp_space_quarantine(''',
     '''	return dp_space_quarantine('''),
    ('quarantine-owner-not-asked', FOUND, 'lib/extent/space.c',
     'a block that has moved into a cache stays marked',
     'if (ret || was_free || is_owned(arg))',
     'if (ret || was_free || is_owned(arg) || true)'),
    ('quarantine-not-undone', FOUND, 'lib/extent/space.c',
     'the mark of an extent that has ended stays',
     '''	dp_bits_release_taken(&space->bits, block);
	return -ESTALE;''',
     '''	return -ESTALE;'''),
    ('quarantine-of-foreign-blocks', FOUND, 'lib/extent/state.c',
     'blocks of other extents are marked for this one',
     'return owner->bad_block - owner->block < blocks;',
     'return blocks;'),
    ('quarantine-without-memory', FOUND, 'lib/core/medium.c',
     'a bad block that could not be recorded is reported as recorded',
     'return ret ? ret : -EIO;',
     'return -EIO;'),
    ('found-bad-touched-again', FOUND, 'lib/core/medium.c',
     'a block that is known to be bad is read again',
     '''	if (dp_is_bad(pool, handle.block, offset, length))
		return -EIO;''',
     ''),
    ('found-bad-kept', FOUND, 'lib/core/publish.c',
     'a KEEP writes back a bad block',
     '''	if (!ret && dp_is_bad(batch->pool, step->handle.block, step->op->offset,
			      length))
		ret = -EIO;''',
     ''),
    ('page-stored-unread', FOUND, 'lib/media/table.c',
     'a page of the table is stored to although it cannot be read',
     'ret = dp_badblocks_read(table->view, at, words, sizeof(words));',
     'ret = 0;'),
    ('page-blocks-not-quarantined', FOUND, 'lib/core/publish.c',
     'extents under a page that cannot be read are reserved repeatedly',
     'dp_quarantine_page(pool, step->handle);',
     ';'),
    ('failed-reserve-keeps-space', FOUND, 'lib/core/allocate.c',
     'a reserve that fails leaves its blocks reserved',
     '''		dp_state_cancel(&pool->states, block,
				dp_handle_of(pool, extent).generation);''',
     '''		dp_handle_of(pool, extent);'''),
    ('failed-flush-quarantines', FOUND, 'lib/core/publish.c',
     'a flush that fails counts as a page that cannot be read',
     'if (ret == -EIO && !dp_persist_error(&pool->media.persist))',
     'if (ret == -EIO)'),
    # ------------------------------------------------ a file without holes
    ('whole-in-any-filesystem', SOURCE, 'lib/pool/source.c',
     'blocks of any filesystem are taken for pages of the file',
     'return source->kind == DP_SOURCE_SHMEM && !dp_os_fstat(fd, &st) &&',
     'return !dp_os_fstat(fd, &st) &&'),
    ('whole-with-what-is-past-the-end', SOURCE, 'lib/pool/source.c',
     "pages past the end of the segment count as the segment's",
     '(uint64_t)st.st_size == size &&',
     ''),
    ('whole-with-a-hole', SOURCE, 'lib/pool/source.c',
     'a file with a hole is taken for whole',
     '(uint64_t)st.st_blocks == size / 512;',
     'st.st_blocks;'),
]
