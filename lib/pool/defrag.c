/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * xfs_fsr swaps the blocks of a file with those of a copy, and on a DAX file the
 * kernel does not wait for pins: a read that is under way ends with success, its
 * bytes are in the file that is removed next. So each file of a pool on XFS is marked
 * FS_XFLAG_NODEFRAG before it is used: at each open for writing, since a restore
 * loses the mark. The directory that a create makes is marked too, which files that
 * are restored into it inherit. Whether DAX or not: the next mount may make it so.
 *
 * What counts is what the file says afterwards. Where the mark is refused (-EPERM to
 * whoever is not the file's owner, though its group may write to it) the open goes on,
 * daxpin_pool_info() says that blocks may be moved, and the log why and what cures it.
 * Of other filesystems nothing is claimed.
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
	/* Success would prove nothing. */
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

		any = dp_either(any, segments->readonly ?
				       dp_defrag_may_move(source, fd) :
				       dp_defrag_prevent_one(source, fd,
							     ret_error));
	}
	return any;
}
