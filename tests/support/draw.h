/* SPDX-License-Identifier: BSD-3-Clause */
/* Random numbers that a seed repeats on every machine. */
#ifndef DRAW_H
#define DRAW_H

/* Returns a number from 0 to below - 1. */
static inline unsigned int draw(unsigned int *seed, unsigned int below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % below;
}

#endif
