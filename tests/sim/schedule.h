/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Actors run in turns: each is a thread, and one at a time runs, from one call of a
 * seam to the next. A list of preemptions says which one continues there, so that a
 * schedule can be repeated.
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
 * Runs the actors, 0 first. When an actor ends, or must wait for a mutex, the next one
 * continues. Returns the number of points, or 0 if all waited for each other.
 */
uint32_t schedule_run(const struct schedule *schedule, uint32_t actors,
		      void (*actor)(uint32_t index, void *arg), void *arg);

/* Another actor may continue here. Does nothing outside of schedule_run(). */
void schedule_point(void);
/* This actor can do nothing until another one has done something. */
void schedule_wait(void);

#endif
