/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where this process is: boot, namespaces, start time; and what that proves about a
 * dead owner. A container or an administrator can mount something over any file of
 * /proc and shift start times (time namespaces), and a new namespace can have the
 * number of one that has ended. So the result lets an open continue only if the
 * kernel itself proves it; otherwise the result is "not known" (W10).
 */
#ifndef DP_PLACE_H
#define DP_PLACE_H

#include "media/layout.h"

/* Describe this process, with no verbs contexts. What cannot be read is zero. */
void dp_place_describe(struct dp_owner *ret_owner);

/* Is it proven that the machine was started again since the owner wrote it? */
bool dp_place_is_another_boot(const struct dp_owner *owner);

/* Is the owner a living process? For messages only: the pid may have been reused, if
 * start times cannot be compared, and then the answer is UNKNOWN. */
enum dp_tristate dp_place_is_alive(const struct dp_owner *owner);

/*
 * Is it proven that this thread is not one of the owner's? `thread` is the id of a
 * living thread in this process's pid namespace. The caller must verify that the id
 * belongs to the same thread before and after the call.
 */
bool dp_place_is_outside(const struct dp_owner *owner, uint32_t thread);

/* Is it proven that this process is in the initial network namespace, and /sys
 * shows that one? */
bool dp_place_sees_initial_network(void);

#endif
