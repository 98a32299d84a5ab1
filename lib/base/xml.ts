/** Text in XML, and so in SVG and HTML. */

/** As the content of an element or a quoted attribute. */
export function escapeXml(content: string): string {
  return content.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}
