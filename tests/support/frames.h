/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FRAMES_H
#define FRAMES_H

#include <stddef.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

/*
 * For pthread_cleanup_push() in a thread's first function, around the call that may be
 * cancelled. AddressSanitizer does not notice that a cancelled thread leaves the frames
 * of its calls. The marks around their variables would be reported when the thread
 * ends.
 */
static inline void leave_frames(void *arg)
{
	(void)arg;
#ifdef __SANITIZE_ADDRESS__
	const size_t size = 256 << 10;
	char *here = __builtin_frame_address(0);

	__asan_unpoison_memory_region(here - size, size);
#endif
}

#endif
