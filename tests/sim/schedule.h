/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Actors that take turns: threads of which one at a time runs, from one call
 * of a seam to the next. A list of preemptions says which one continues there, so that
 * a schedule can be repeated.
 */
#ifndef SIM_SCHEDULE_H
#define SIM_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#define SCHEDULE_ACTORS		3u
#define SCHEDULE_PREEMPTIONS	4u

struct schedule {
	uint32_t preemptions;
	struct {
		uint32_t point;		/* counted over all actors, from 1 on */
		uint32_t actor;		/* the actor that continues there */
	} at[SCHEDULE_PREEMPTIONS];
};

/*
 * Run the actors, 0 first. An actor that ends, or must wait for a mutex, hands
 * over to the next. Returns how many points there were; 0 when all waited for
 * each other.
 */
uint32_t schedule_run(const struct schedule *schedule, uint32_t actors,
		      void (*actor)(uint32_t index, void *arg), void *arg);

/* Another actor may go on here. Nothing outside schedule_run(). */
void schedule_point(void);
/* This actor can do nothing until another did something. */
void schedule_wait(void);

#endif
