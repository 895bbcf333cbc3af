/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_strerror(3): what each errno means, the same in every call. daxpin(7) has
 * the table for people; lint-errnos checks that both have the same rows.
 */
#include <errno.h>
#include "util/util.h"
#include <daxpin.h>

static const struct {
	int error;
	const char *text;
} errors[] = {
	{ E2BIG, "more than this library knows or takes: a struct with a tail that is not zero, or too many operations" },
	{ EACCES, "the ring has restrictions that forbid what must be registered with it" },
	{ EAFNOSUPPORT, "this process may have no AF_UNIX socket, which keeps the files of a pool locked" },
	{ EAGAIN, "not now, and something under way will change it: DAXPIN_EVENT_RETRY tells when to try again" },
	{ EALREADY, "it was done before: the extent is retired, the segment is pinned, or the grant is being ended" },
	{ EBADMSG, "the message is damaged: its checksum does not fit" },
	{ EBADR, "the kernel dropped a completion of a ring, because it had no memory for it" },
	{ EBUSY, "somebody else has it at this time" },
	{ ECANCELED, "the caller's progress function gave up, or the job was cancelled" },
	{ EEXIST, "something is there already; or the ring belongs to another thread" },
	{ EFBIG, "larger than the largest extent that a pool of this geometry can have, or than RLIMIT_FSIZE lets a file be" },
	{ EINPROGRESS, "it is not over yet" },
	{ EINVAL, "the call makes no sense: a bad argument, or one that the extent's state does not allow" },
	{ EIO, "the medium or the device failed, or the medium is bad there" },
	{ EMEDIUMTYPE, "there is no daxpin pool: nothing at all, or something else" },
	{ EMFILE, "this process has no descriptor left: raise RLIMIT_NOFILE" },
	{ ENAMETOOLONG, "the root's name has DAXPIN_ROOT_NAME_MAX bytes or more" },
	{ ENODEV, "it is no device-dax node, or its device is in system-ram mode" },
	{ ENOENT, "nothing is there: no such path, extent, segment or name" },
	{ ENOMEM, "there is no memory, or RLIMIT_MEMLOCK does not let so much be pinned" },
	{ ENOSPC, "there is no room now, and nothing under way will make any: retire or drop something, or refill holes" },
	{ ENOSYS, "this kernel, or a filter of its calls, leaves no way to wait with a deadline: io_uring is needed" },
	{ ENXIO, "what the call is about is not there: it is another pool than the one that was named, or the ring's file table was emptied" },
	{ EOPNOTSUPP, "this memory, kernel or device cannot do it" },
	{ EOVERFLOW, "DAXPIN_HOLDS_MAX holds are out on the extent" },
	{ EOWNERDEAD, "this is a child of the process that opened the pool" },
	{ EPERM, "it would be unsafe, and the flag that insists was not given" },
	{ EPROTONOSUPPORT, "a newer daxpin wrote this, or a development version before the first release" },
	{ EROFS, "the pool is open for reading, or its filesystem is mounted read-only" },
	{ ESTALE, "its life is over: the extent was freed, the grant has ended, the ring was detached or abandoned, the protection domain was detached, or the pool was opened by another since" },
	{ ETIMEDOUT, "the deadline has passed" },
	{ ETOOMANYREFS, "more descriptors of this user lie in sockets than RLIMIT_NOFILE allows" },
	{ EUCLEAN, "the medium is damaged, incomplete, of more than one time, or was not closed" },
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
