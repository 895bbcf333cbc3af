/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_strerror(3): what each errno means, which is the same in every call. daxpin(7)
 * has a table of the same errnos; lint-errnos checks that both have the same rows.
 */
#include <errno.h>
#include "util/util.h"
#include <daxpin.h>

static const struct {
	int error;
	const char *text;
} errors[] = {
	{ E2BIG, "more than this library supports: a struct with an unknown tail that is not zero, or too many operations" },
	{ EACCES, "restrictions of the ring forbid what must be registered with it" },
	{ EAFNOSUPPORT, "this process cannot create an AF_UNIX socket, which keeps the files of a pool locked" },
	{ EAGAIN, "temporarily unavailable: DAXPIN_EVENT_RETRY reports when to try again" },
	{ EALREADY, "done before: the extent is retired, the segment is pinned, or the grant is being ended" },
	{ EBADMSG, "the message is damaged: its checksum does not match" },
	{ EBADR, "the kernel dropped a completion of a ring because it had no memory for it" },
	{ EBUSY, "in use: by another process or call, a hold, a registration, or a dead owner's DMA" },
	{ ECANCELED, "the caller's progress function returned non-zero, or the job was cancelled" },
	{ EEXIST, "it exists already; or the ring belongs to another thread" },
	{ EFBIG, "larger than the largest extent of a pool of this geometry, or than a file that RLIMIT_FSIZE allows" },
	{ EINPROGRESS, "it has not ended yet" },
	{ EINVAL, "an argument is invalid, or the extent's state does not allow the call" },
	{ EIO, "the medium or the device failed, or the medium is bad there" },
	{ EMEDIUMTYPE, "there is no daxpin pool: nothing, or something else" },
	{ EMFILE, "this process has no descriptor left: raise RLIMIT_NOFILE" },
	{ ENAMETOOLONG, "the root's name has DAXPIN_ROOT_NAME_MAX bytes or more" },
	{ ENODATA, "the pool has no status page" },
	{ ENODEV, "not a device-dax node, or its device is in system-ram mode" },
	{ ENOENT, "not found: no such path, extent, segment or name" },
	{ ENOMEM, "out of memory, or RLIMIT_MEMLOCK is too small for the pin" },
	{ ENOSPC, "no space, and nothing in progress will provide any: retire or drop something, or refill holes" },
	{ ENOSYS, "this kernel, or a filter of system calls, lacks what is needed: io_uring for a wait with a deadline, or getrandom()" },
	{ ENXIO, "not the pool with that uuid; or the ring's file table is missing or was emptied" },
	{ EOPNOTSUPP, "this memory, kernel or device does not support it" },
	{ EOVERFLOW, "the extent has DAXPIN_HOLDS_MAX holds" },
	{ EOWNERDEAD, "this is a child of the process that opened the pool" },
	{ EPERM, "unsafe, and the flag that allows it was not given" },
	{ EPROTONOSUPPORT, "written by a newer daxpin, or by a development version before the first release" },
	{ EROFS, "the pool is open for reading, or its filesystem is mounted read-only" },
	{ ESTALE, "the handle's generation has ended: the extent was freed, the grant has ended, the ring or protection domain was detached, or another open has written to the pool" },
	{ ETIMEDOUT, "the deadline has passed" },
	{ ETOOMANYREFS, "this user has more descriptors queued in sockets than RLIMIT_NOFILE allows" },
	{ EUCLEAN, "the medium is damaged, incomplete, from different times, or was not closed" },
};

DP_EXPORT const char *daxpin_strerror(int error)
{
	const char *text;

	if (error >= 0)
		return "no error";
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (errors[i].error == -error)
			return errors[i].text;
	text = strerrordesc_np(-error);
	return text ? text : "an error that the system does not know";
}
