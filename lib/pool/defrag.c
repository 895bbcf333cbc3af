/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * xfs_fsr exchanges the blocks of a file with those of a copy, and on a DAX file the
 * kernel does not wait for pins: a read in flight succeeds, but its bytes go to the
 * file that is removed next. So each file of a pool on XFS gets FS_XFLAG_NODEFRAG
 * before it is used, at each open for writing, because a restored file lacks the flag.
 * A directory that a create makes gets it as well; files that are restored into it
 * inherit it. Files that are not DAX are marked too, because the next mount may make
 * them DAX.
 *
 * The flag is read back. If it cannot be set (-EPERM for a process that may write to
 * the file through its group but does not own it), the open continues,
 * daxpin_pool_info() reports that blocks may be moved, and the log has the reason and
 * the cure. Other filesystems are reported as unknown.
 */
#include "os/os.h"
#include "pool/defrag.h"

enum dp_tristate dp_defrag_may_move(const struct dp_source *source, int fd)
{
	int marked;

	if (source->kind == DP_SOURCE_DEVDAX)
		return DP_NO;
	if (!source->is_xfs)
		return DP_UNKNOWN;
	marked = dp_os_nodefrag(fd);
	if (marked < 0)
		return DP_UNKNOWN;
	return marked ? DP_NO : DP_YES;
}

enum dp_tristate dp_defrag_prevent_one(const struct dp_source *source, int fd,
				       int *error)
{
	enum dp_tristate before = dp_defrag_may_move(source, fd);
	int ret;

	if (before != DP_YES)
		return before;
	/* Success proves nothing: the flag is read back. */
	ret = dp_os_set_nodefrag(fd);
	if (ret)
		*error = ret;
	return dp_defrag_may_move(source, fd);
}

enum dp_tristate dp_defrag_prevent(const struct dp_segments *segments,
				   int *ret_error)
{
	const struct dp_source *source = segments->source;
	enum dp_tristate any = DP_NO;

	*ret_error = 0;
	for (uint32_t i = 0; i < dp_segments_count(segments); i++) {
		int fd = dp_segment_fd(segments, i);

		any = dp_tristate_or(any, segments->readonly ?
				       dp_defrag_may_move(source, fd) :
				       dp_defrag_prevent_one(source, fd,
							     ret_error));
	}
	return any;
}
