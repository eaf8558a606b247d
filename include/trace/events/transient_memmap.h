/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM transient_memmap

#if !defined(_TRACE_TRANSIENT_MEMMAP_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_TRANSIENT_MEMMAP_H

#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(transient_memmap_block,

	TP_PROTO(unsigned long pfn, unsigned int order),

	TP_ARGS(pfn, order),

	TP_STRUCT__entry(
		__field(unsigned long, pfn)
		__field(unsigned int, order)
	),

	TP_fast_assign(
		__entry->pfn = pfn;
		__entry->order = order;
	),

	TP_printk("pfn=0x%lx order=%u", __entry->pfn, __entry->order)
);

/* A pin found no struct pages, and made them. */
DEFINE_EVENT(transient_memmap_block, transient_memmap_populate,
	TP_PROTO(unsigned long pfn, unsigned int order),
	TP_ARGS(pfn, order)
);

/* The struct pages of a block are gone, and their memory is free. */
DEFINE_EVENT(transient_memmap_block, transient_memmap_free,
	TP_PROTO(unsigned long pfn, unsigned int order),
	TP_ARGS(pfn, order)
);

/* A pin found no struct pages, and could not get any. */
TRACE_EVENT(transient_memmap_fail,

	TP_PROTO(unsigned long pfn, unsigned int order, int error),

	TP_ARGS(pfn, order, error),

	TP_STRUCT__entry(
		__field(unsigned long, pfn)
		__field(unsigned int, order)
		__field(int, error)
	),

	TP_fast_assign(
		__entry->pfn = pfn;
		__entry->order = order;
		__entry->error = error;
	),

	TP_printk("pfn=0x%lx order=%u error=%d", __entry->pfn, __entry->order,
		  __entry->error)
);

#endif /* _TRACE_TRANSIENT_MEMMAP_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
