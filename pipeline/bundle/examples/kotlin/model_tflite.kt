// The model in LiteRT on Android: implementation("com.google.ai.edge.litert:litert:1.4.0"), which keeps the classes of
// org.tensorflow.lite.
import java.io.Closeable
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.json.JSONObject
import org.tensorflow.lite.Interpreter

class Model(bundle: File, threads: Int = 1) : Closeable {
    private val signature = JSONObject(File(bundle, "signature.json").readText())
    private val key = signature.getString("signature_key")
    private val interpreter =
        Interpreter(File(bundle, signature.getString("model")), Interpreter.Options().setNumThreads(threads))

    /** Raw bytes by the names of the inputs, in the types of signature.json, little-endian; the same for the outputs. */
    fun run(inputs: Map<String, ByteBuffer>): Map<String, ByteBuffer> {
        if (signature.getBoolean("keeps_state_between_calls")) interpreter.resetVariableTensors()
        val answers = interpreter.getSignatureOutputs(key).associateWith { name ->
            val tensor = interpreter.getOutputTensorFromSignature(name, key)
            ByteBuffer.allocateDirect(tensor.numBytes()).order(ByteOrder.LITTLE_ENDIAN)
        }
        interpreter.runSignature(inputs, answers, key)
        answers.values.forEach { it.rewind() }
        return answers
    }

    override fun close() = interpreter.close()
}
