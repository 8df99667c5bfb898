// Copyright 2026 the Sabre authors. MIT license.

// Draws charts, as SVG.

import * as echarts from "npm:echarts@6.1.0";
import type { Chart } from "./charts.ts";

const FONT = "system-ui, sans-serif";

/** The drawing of a chart: bars, with their values. */
export function draw({ bars: { names, series, colors, axis, label, base } }: Chart): string {
  const isGrouped = series.length > 1;
  const height = 70 + names.length * (isGrouped ? 16 * series.length + 14 : 24);
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: 800, height });
  const all = series.flatMap(({ values }) => values).filter((value) => value !== undefined);
  // Room beside the longest bars for what is written there.
  const least = base ?? Math.min(1, ...all) / 3;
  const most = Math.max(1, ...all) * (base === undefined ? 3 : 6);
  chart.setOption({
    animation: false,
    backgroundColor: "#ffffff",
    textStyle: { fontFamily: FONT },
    ...(isGrouped ? { legend: { top: 4, textStyle: { fontFamily: FONT } } } : {}),
    grid: { left: 250, right: 24, top: isGrouped ? 34 : 12, bottom: 46 },
    yAxis: {
      type: "category",
      inverse: true,
      data: [...names],
      axisTick: { show: false },
      axisLine: { onZero: false },
      axisLabel: { color: "#27272a", fontFamily: FONT },
    },
    xAxis: {
      type: "log",
      min: least,
      max: most,
      name: axis,
      nameLocation: "middle",
      nameGap: 28,
      axisLabel: {
        formatter: shortTick,
        fontFamily: FONT,
        showMaxLabel: false,
        showMinLabel: base !== undefined,
      },
    },
    series: series.map(({ name, color, values }) => ({
      name,
      type: "bar",
      barWidth: isGrouped ? 13 : 15,
      itemStyle: { color },
      label: {
        show: true,
        position: "right",
        color: "#27272a",
        fontFamily: FONT,
        fontSize: 11,
        formatter: ({ value }: { value: unknown }) => typeof value === "number" ? label(value) : "",
      },
      data: values.map((value, index) => ({
        value: value ?? "-",
        ...(colors === undefined ? {} : { itemStyle: { color: colors[index] } }),
      })),
      ...(base === undefined
        ? {
          markLine: {
            silent: true,
            symbol: "none",
            label: { show: false },
            lineStyle: { color: "#27272a", type: "solid" },
            data: [{ xAxis: 1 }],
          },
        }
        : {}),
    })),
  } as echarts.EChartsCoreOption);
  const svg = chart.renderToSVGString();
  chart.dispose();
  return `${svg.trim()}\n`;
}

function shortTick(value: number): string {
  if (value >= 1e6) return `${value / 1e6} M`;
  return value >= 1e3 ? `${value / 1e3} k` : String(Number(value.toPrecision(2)));
}
